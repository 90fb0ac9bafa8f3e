"""Targets by name, e.g. "npu:sim": the kind of device, then its configuration."""

from __future__ import annotations

from compiler.errors import UnknownTarget
from rtl_sim.spec.npu import CONFIGS, Config, named_config

DEFAULT_TARGET = "npu:sim"


def targets() -> tuple[str, ...]:
    return tuple(f"npu:{name}" for name in CONFIGS)


def npu_config(target: str) -> Config:
    """The NPU that a target names. Raises UnknownTarget."""
    kind, _, name = str(target).partition(":")
    config = named_config(name)
    if kind != "npu" or config is None:
        raise UnknownTarget(
            f"no target {target!r}; there are {', '.join(targets())}, and each with another number "
            "of mantissa bits, e.g. npu:sim-m5, on the emulator and the CPU"
        )
    return config
