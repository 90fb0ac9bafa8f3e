"""haltere's hardware abstraction layer: one way to speak to a device, whatever it is made of."""

from hal.context import Buffer, Context, Device, Program
from hal.registry import default_device, list_devices, open_device, self_tests
from hal.serving import serve, serve_async
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
