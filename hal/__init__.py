"""haltere's hardware abstraction layer: one way to speak to a device, whatever it is made of."""

from hal.context import Buffer, Context, Device, Program
from hal.registry import list_devices, open_device
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
    "list_devices",
    "open_device",
]
