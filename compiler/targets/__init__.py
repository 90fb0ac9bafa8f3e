"""Targets by name, e.g. "npu:sim": the kind of device, then its configuration."""

from __future__ import annotations

from compiler.errors import UnknownTarget
from rtl_sim.spec.npu import CONFIGS, Config

DEFAULT_TARGET = "npu:sim"


def targets() -> tuple[str, ...]:
    return tuple(f"npu:{name}" for name in CONFIGS)


def npu_config(target: str) -> Config:
    """The NPU that a target names. Raises UnknownTarget."""
    kind, _, name = target.partition(":")
    if kind != "npu" or name not in CONFIGS:
        raise UnknownTarget(f"no target {target!r}; there are {', '.join(targets())}")
    return CONFIGS[name]
