"""Jobs and devices, protocol-neutral: what `/v1` and the CLI ask of the pool.

Jobs over HTTP name a *template*: a program that the operator put on this list, with typed and
bounded parameters. No request can make the service run a command of its own.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from scheduler.core.values import FULL_MILLI, Needs
from scheduler.errors import Busy, Infeasible
from scheduler.live.pool import DRAIN_S, NOTICE_S, DeviceStatus, JobSpec, JobStatus, Pool, Tier
from service.errors import BadRequest, NotFound

NAME_LIMIT = 100  # characters of a job's or tenant's name


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that is one of a few words."""

    options: tuple[str, ...]

    def argument(self, value: Any) -> str:
        if value not in self.options:
            raise ValueError(f"one of {', '.join(self.options)}")
        return str(value)


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter that is a whole number within bounds."""

    low: int
    high: int

    def argument(self, value: Any) -> str:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("a whole number")
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.low} to {self.high}")
        return str(value)


@dataclass(frozen=True, slots=True)
class Template:
    """A program that jobs may run: `argv` and one option for each parameter given."""

    device_kind: str
    argv: tuple[str, ...]
    parameters: Mapping[str, Choice | Number] = field(default_factory=dict)

    def command(self, given: Mapping[str, Any]) -> list[str]:
        command = list(self.argv)
        for name, value in given.items():
            if name not in self.parameters:
                known = ", ".join(self.parameters)
                raise BadRequest(f"parameter {name!r} is unknown; known are {known}")
            try:
                command += [f"--{name}", self.parameters[name].argument(value)]
            except ValueError as error:
                raise BadRequest(f"parameter {name!r} is {value!r}: must be {error}") from error
        return command


TEMPLATES: Mapping[str, Template] = {
    "train-digits": Template(
        "opencl",
        (sys.executable, "-m", "service.demo.train", "--out", "weights.npz"),
        {
            "net": Choice(("mlp", "lstm", "both")),
            "steps": Number(1, 100_000),
            "seed": Number(0, 2**31 - 1),
        },
    ),
}


class _Submission(msgspec.Struct, forbid_unknown_fields=True):
    template: str
    name: str = ""
    tenant: str = "default"
    tier: str = "standard"
    share_milli: int | None = None
    cpu_milli: int = 0
    memory_mib: int = 0
    parameters: dict[str, Any] = {}

    @property
    def needs(self) -> Needs | None:
        """Raises Infeasible."""
        if self.share_milli is None and not (self.cpu_milli or self.memory_mib):
            return None
        share_milli = FULL_MILLI if self.share_milli is None else self.share_milli
        return Needs(share_milli, self.cpu_milli, self.memory_mib)


class _Drain(msgspec.Struct, forbid_unknown_fields=True):
    deadline_s: float = DRAIN_S


class _Window(msgspec.Struct, forbid_unknown_fields=True):
    devices: list[str]
    within_s: float
    lasts_s: float
    notice_s: float = NOTICE_S


class Control:
    """`results`: each job runs in a folder of its own below it."""

    def __init__(
        self, pool: Pool, results: Path, templates: Mapping[str, Template] = TEMPLATES
    ) -> None:
        self._pool = pool
        self._results = results
        self._templates = templates

    def devices(self) -> list[dict[str, Any]]:
        return [self._device(device) for device in self._pool.devices()]

    def drain(self, uri: str, body: bytes) -> dict[str, Any]:
        """A JSON object: optionally deadline_s."""
        try:
            asked = msgspec.json.decode(body or b"{}", type=_Drain)
        except msgspec.DecodeError as error:
            raise BadRequest(f"the body is not a drain: {error}") from error
        return self._device(self._pool.drain(uri, asked.deadline_s))

    def cancel_drain(self, uri: str) -> dict[str, Any]:
        return self._device(self._pool.cancel_drain(uri))

    def quotas(self) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = msgspec.to_builtins(self._pool.quotas())
        return shown

    def window(self) -> dict[str, Any] | None:
        """The window of maintenance that is open, or was last."""
        status = self._pool.window()
        if status is None:
            return None
        left_s = max(0.0, status.closes_s - self._pool.now_s())
        return {**msgspec.to_builtins(status), "left_s": left_s}

    def open_window(self, body: bytes) -> dict[str, Any] | None:
        """A JSON object: devices, within_s, lasts_s, and optionally notice_s."""
        try:
            asked = msgspec.json.decode(body, type=_Window)
        except msgspec.DecodeError as error:
            raise BadRequest(f"the body is not a window of maintenance: {error}") from error
        self._pool.maintain(asked.devices, asked.within_s, asked.lasts_s, asked.notice_s)
        return self.window()

    def jobs(self) -> list[dict[str, Any]]:
        return [self._shown(status) for status in self._pool.jobs()]

    def job(self, job_id: str) -> dict[str, Any]:
        for status in self._pool.jobs():
            if str(status.id) == job_id:
                return self._shown(status)
        raise NotFound(f"no job {job_id!r}")

    def submit(self, body: bytes) -> dict[str, Any]:
        """A JSON object: template, and optionally name, tenant, tier, parameters, share_milli,
        cpu_milli, memory_mib."""
        try:
            asked = msgspec.json.decode(body, type=_Submission)
        except msgspec.DecodeError as error:
            raise BadRequest(f"the body is not a job: {error}") from error
        template = self._templates.get(asked.template)
        if template is None:
            raise BadRequest(
                f"template {asked.template!r} is unknown; known are {', '.join(self._templates)}"
            )
        if asked.tier not in tuple(Tier):
            raise BadRequest(f"tier {asked.tier!r}: one of {', '.join(Tier)}")
        for name in (asked.name, asked.tenant):
            if len(name) > NAME_LIMIT or not name.isprintable():
                raise BadRequest(f"name or tenant {name[:20]!r}: up to {NAME_LIMIT} printables")
        command = template.command(asked.parameters)
        self._results.mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix=f"{asked.template}-", dir=self._results)
        try:
            job_id = self._pool.submit(
                JobSpec(
                    name=asked.name or asked.template,
                    tenant=asked.tenant,
                    tier=Tier(asked.tier),
                    device_kind=template.device_kind,
                    argv=tuple(command),
                    cwd=str(Path(folder).absolute()),
                    needs=asked.needs,
                )
            )
        except (Infeasible, Busy):
            Path(folder).rmdir()  # no job will run there
            raise
        return self.job(str(job_id))

    def cancel(self, job_id: str) -> dict[str, Any]:
        shown = self.job(job_id)
        self._pool.cancel(shown["id"])
        return self.job(job_id)

    @staticmethod
    def _device(status: DeviceStatus) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(status)
        return shown

    @staticmethod
    def _shown(status: JobStatus) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(status)
        return shown
