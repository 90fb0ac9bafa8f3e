"""Settings of the service, from the environment (`HALTERE_...`) or the command line."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import BadRequest

PREFIX = "HALTERE_"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX)

    host: str = "127.0.0.1"
    port: int = 8000
    state_dir: Path = Path.home() / ".local/state/haltere"  # journal, logs, checkpoints
    policy: str = "tiered"  # who gets devices: see haltere simulate --help for the names
    quotas: Path | None = None  # of tenants, a TOML file; needs the policy elastic
    stragglers: bool = False  # devices that jobs find slow are avoided; needs the policy elastic
    device_cpu_milli: int = 0  # of this machine, for the jobs of each device; 0: an even part
    device_memory_mib: int = 0  # the same (policy sharing)
    max_pending: int = 64  # requests one replica queues; one more is answered 429
    max_sessions: int = 256  # of recurrent models, all together; one more is answered 429
    session_idle_s: float = 3600.0  # a session that nobody uses for so long is forgotten
    max_body_bytes: int = 16 << 20  # a request body larger than this is answered 413
    infer_timeout_s: float = 120.0  # bound on one inference, a halt and a move included


def from_environment() -> Settings:
    """Raises BadRequest, naming the variable."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = (
            f"{PREFIX}{'.'.join(map(str, each['loc'])).upper()}={each['input']!r}: {each['msg']}"
            for each in error.errors()
        )
        raise BadRequest("; ".join(wrong)) from error
