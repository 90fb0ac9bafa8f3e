"""Opening and closing: closing twice is harmless, and what is closed says so."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hal import Device, Overlay, open_device
from hal.errors import DeviceLost, UsageError

if TYPE_CHECKING:
    from conftest import Opener, Target


def test_the_device_describes_itself_as_the_registry_does(target: Target, device: Device) -> None:
    assert device.info.part == target.info.part
    said, found = device.info.caps, target.info.caps
    size = {"memory_bytes": found.memory_bytes, "max_buffer_bytes": found.max_buffer_bytes}
    assert replace(said, **size) == found  # sizes may follow what is free on a shared machine
    assert 0 < said.max_buffer_bytes <= said.memory_bytes
    assert device.info.uri.endswith(target.info.uri)
    assert pickle.loads(pickle.dumps(device.info)) == device.info


def test_a_context_closes_twice(device: Device) -> None:
    context = device.open_context()
    context.write(context.alloc(64), bytes(64))
    context.close()
    context.close()


def test_a_closed_context_refuses_everything(device: Device) -> None:
    context = device.open_context()
    buffer = context.alloc(8)
    seq = context.signal()
    context.close()
    for call in (
        lambda: context.alloc(8),
        lambda: context.write(buffer, b"x"),
        lambda: context.read(buffer),
        lambda: context.free(buffer),
        lambda: context.signal(),
        lambda: context.wait(seq, 0.0),
        lambda: context.halt(),
        lambda: context.save_state(),
        lambda: context.load_state(b""),
    ):
        with pytest.raises(UsageError):
            call()


def test_closing_one_context_leaves_the_other(device: Device) -> None:
    with device.open_context() as stays:
        buffer = stays.alloc(16)
        stays.write(buffer, b"still here......")
        goes = device.open_context()
        goes.write(goes.alloc(16), bytes(16))
        goes.close()
        assert stays.read(buffer) == b"still here......"


def test_a_device_closes_twice_and_opens_again(target: Target, opener: Opener) -> None:
    for _ in range(2):
        device = opener.open(target)
        with device.open_context() as context:
            assert context.read(context.alloc(8)) == bytes(8)
        device.close()
        device.close()


def test_a_closed_device_takes_its_contexts_with_it(target: Target, opener: Opener) -> None:
    device = opener.open(target)
    context = device.open_context()
    buffer = context.alloc(8)
    context.write(buffer, bytes(8))
    device.close()
    for call in (
        lambda: context.alloc(8),
        lambda: context.read(buffer),
        lambda: context.finish(),
        lambda: device.open_context(),
        lambda: device.configure(target.overlay or Overlay("0" * 64, b"", {})),
    ):
        with pytest.raises(UsageError, match="closed"):
            call()
    context.close()


def test_memory_of_a_closed_context_is_given_back(device: Device) -> None:
    size = min(device.info.caps.max_buffer_bytes, 32 << 20)
    for _ in range(device.info.caps.memory_bytes // size + 2 if size < 1 << 22 else 3):
        with device.open_context() as context:
            context.alloc(size)
            context.finish()


def test_a_device_that_is_not_there_is_said_to_be_lost(target: Target) -> None:
    with pytest.raises(DeviceLost, match="999"):
        open_device(f"{target.info.kind}:999")
