"""What only an OpenCL device can get wrong: build logs, codes, kinds of arguments, waiting."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator

import pytest

from hal import Context, Grid, ProgramImage, ScalarArg, Usage, open_device
from hal.errors import DeviceTimeout, OutOfMemory, ProgramRejected, UsageError
from hal.registry import list_devices

cl = pytest.importorskip("pyopencl")

SOURCE = b"""
kernel void spin(global uint *out, const ulong rounds)
{
    uint h = 1;
    for (ulong i = 0; i < rounds; i++)
        h = (h ^ (h >> 15)) * 2246822519u + 1;
    out[get_global_id(0)] = h;
}
kernel void scratch(global uint *out, local uint *tmp) { out[0] = tmp[0]; }
kernel void picture(read_only image2d_t image, global uint *out)
{
    out[0] = get_image_width(image);
}
kernel void wide(global uint *out, const float4 value) { out[0] = (uint)value.w; }
"""
LONG = 200_000_000  # rounds: about a third of a second
DEVICES = [info.uri for info in list_devices() if info.kind == "opencl"]


@pytest.fixture
def context() -> Iterator[Context]:
    assert DEVICES, "pyopencl is installed but no OpenCL device was found"
    with open_device(DEVICES[0]) as device, device.open_context() as context:
        yield context


def test_a_machine_with_pocl_alone_shows_two_devices_alike() -> None:
    if os.environ.get("POCL_DEVICES") != "pthread pthread":
        pytest.skip("POCL_DEVICES was set to something else")
    platforms = {info.part for info in list_devices() if "pthread" in info.name}
    assert len(platforms) <= 1 < len(DEVICES)


def test_the_build_log_is_in_the_refusal(context: Context) -> None:
    with pytest.raises(ProgramRejected, match="no_such_name") as caught:
        context.load(ProgramImage("opencl-c", b"kernel void f() { no_such_name(); }"))
    assert caught.value.native == cl.status_code.BUILD_PROGRAM_FAILURE
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.native) == (str(caught.value), caught.value.native)


def test_build_options_are_used(context: Context) -> None:
    source = b"#ifndef WANTED\n#error none\n#endif\nkernel void f(global int *o) { *o = WANTED; }"
    with pytest.raises(ProgramRejected):
        context.load(ProgramImage("opencl-c", source))
    program = context.load(ProgramImage("opencl-c", source, "-DWANTED=7"))
    buffer = context.alloc(4)
    context.launch(program, "f", [buffer.arg()])
    assert context.read(buffer) == b"\7\0\0\0"
    with pytest.raises(ProgramRejected):
        context.load(ProgramImage("opencl-c", source, "-DWANTED='unclosed"))


@pytest.mark.parametrize("entry", ["scratch", "picture"])
def test_parameters_that_the_seam_does_not_carry_are_refused(context: Context, entry: str) -> None:
    program = context.load(ProgramImage("opencl-c", SOURCE))
    buffer = context.alloc(64)
    with pytest.raises(ProgramRejected, match=entry):
        context.launch(program, entry, [buffer.arg(), buffer.arg()])


def test_a_scalar_of_another_size_is_refused(context: Context) -> None:
    program = context.load(ProgramImage("opencl-c", SOURCE))
    buffer = context.alloc(64)
    with pytest.raises(ProgramRejected) as caught:
        context.launch(program, "spin", [buffer.arg(), ScalarArg.u32(1)])
    assert caught.value.native == cl.status_code.INVALID_ARG_SIZE
    context.launch(program, "wide", [buffer.arg(), ScalarArg(bytes(12) + b"\0\0\x40\x40")])
    assert context.read(buffer, 4) == b"\3\0\0\0"


def test_a_work_group_that_is_too_large_is_refused(context: Context) -> None:
    program = context.load(ProgramImage("opencl-c", SOURCE))
    args = [context.alloc(1 << 22).arg(), ScalarArg(bytes(8))]
    with pytest.raises(UsageError) as caught:
        context.launch(program, "spin", args, Grid((1 << 20,), (1 << 20,)))
    assert caught.value.native is not None


def test_an_offset_that_is_not_aligned_is_refused(context: Context) -> None:
    program = context.load(ProgramImage("opencl-c", SOURCE))
    buffer = context.alloc(1024)
    if context.caps.offset_align == 1:
        pytest.skip("caps.offset_align is 1")
    with pytest.raises(UsageError, match="multiples"):
        context.launch(program, "spin", [buffer.arg(4), ScalarArg(bytes(8))])


def test_a_wait_ends_when_its_time_is_over(context: Context) -> None:
    program = context.load(ProgramImage("opencl-c", SOURCE))
    buffer = context.alloc(64)
    args = [buffer.arg(), ScalarArg(LONG.to_bytes(8, "little"))]
    context.launch(program, "spin", args)
    seq = context.signal()
    assert not context.wait(seq, 0.0)
    assert not context.wait(seq, 0.001)
    with pytest.raises(DeviceTimeout):
        context.halt(0.001)
    assert context.wait(seq, 60.0)


def test_a_context_closes_while_a_kernel_runs(context: Context) -> None:
    program = context.load(ProgramImage("opencl-c", SOURCE))
    buffer = context.alloc(64)
    context.launch(program, "spin", [buffer.arg(), ScalarArg(LONG.to_bytes(8, "little"))])
    context.read_into(buffer, bytearray(64))
    context.signal()
    context.close()


def test_contexts_of_one_device_share_its_memory() -> None:
    with open_device(DEVICES[0]) as device, device.open_context() as one:
        from hal.backends.opencl.driver import OpenclContext
        from hal.backends.quota import Quota

        inner = one._driver
        assert isinstance(inner, OpenclContext)
        inner._quota = Quota(1000)
        handle = inner.alloc(600, Usage.ALL)
        with pytest.raises(OutOfMemory, match="600 of 1000"):
            inner.alloc(401, Usage.ALL)
        inner.free(handle)
        inner.alloc(1000, Usage.ALL)
