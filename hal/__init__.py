"""haltere's hardware abstraction layer: one way to speak to a device, whatever it is made of."""

from typing import TYPE_CHECKING, Any

from hal.context import Buffer, Context, Device, Program
from hal.registry import default_device, list_devices, open_device, self_tests
from hal.types import (
    BufferArg,
    Caps,
    DeviceInfo,
    Grid,
    Overlay,
    ProgramImage,
    ScalarArg,
    SelfTest,
    Usage,
)

if TYPE_CHECKING:
    from hal.serving import serve, serve_async

__all__ = [
    "Buffer",
    "BufferArg",
    "Caps",
    "Context",
    "Device",
    "DeviceInfo",
    "Grid",
    "Overlay",
    "Program",
    "ProgramImage",
    "ScalarArg",
    "SelfTest",
    "Usage",
    "default_device",
    "list_devices",
    "open_device",
    "self_tests",
    "serve",
    "serve_async",
]


def __getattr__(name: str) -> Any:
    """What needs numpy is loaded when asked for: the pytest plugin begins with this package."""
    if name in ("serve", "serve_async"):
        from hal import serving

        return getattr(serving, name)
    raise AttributeError(f"module 'hal' has no attribute {name!r}")
