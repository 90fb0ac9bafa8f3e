"""The driver as the ICD loader sees it: no slot is empty, and the page tells the truth."""

from __future__ import annotations

import ctypes

import pytest

from proxy import records, run
from proxy.native import supported
from proxy.segment import LAYOUT_VERSION


def code_of(name: str) -> int:
    for path in (supported.HEADER.with_name("cl.h"), supported.HEADER.with_name("cl_gl.h")):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:2] == ["#define", name]:
                return int(words[2])
    raise AssertionError(f"{name} is not in OpenCL's headers")


@pytest.fixture(scope="module")
def slots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Address of each slot of a driver that finds no server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTERE_PROXY_ROOT", str(tmp_path_factory.mktemp("root")))
        library = ctypes.CDLL(str(run.driver()))
        platform = ctypes.c_void_p()
        count = ctypes.c_uint32()
        status = library.clIcdGetPlatformIDsKHR(1, ctypes.byref(platform), ctypes.byref(count))
    assert (status, count.value) == (0, 1)
    dispatch = ctypes.cast(platform, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
    return {name: dispatch[index] or 0 for index, name in enumerate(supported.slots())}


def test_no_slot_is_empty(slots: dict[str, int]) -> None:
    assert len(slots) == 149
    assert [name for name, address in slots.items() if not address] == []


def test_every_slot_is_offered_or_refused_once(slots: dict[str, int]) -> None:
    done, refused = supported.done(), supported.refused()
    assert set(slots) == done | set(refused)
    assert not done & set(refused)


def test_what_is_refused_says_so_by_its_code(slots: dict[str, int]) -> None:
    makers = ("clCreate", "clSVM")
    for name, code in supported.refused().items():
        if not name.startswith(makers):
            call = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_size_t] * 12)(slots[name])
            assert call(*[0] * 12) == code_of(code), name
    status = ctypes.c_int32()
    make = ctypes.CFUNCTYPE(
        ctypes.c_void_p, *[ctypes.c_size_t] * 3, ctypes.POINTER(ctypes.c_int32)
    )(slots["clCreateFromGLBuffer"])
    assert make(0, 0, 0, ctypes.byref(status)) is None
    assert status.value == code_of("CL_INVALID_OPERATION")


def test_null_handles_are_refused(slots: dict[str, int]) -> None:
    expected = {
        "clRetainContext": "CL_INVALID_CONTEXT",
        "clFinish": "CL_INVALID_COMMAND_QUEUE",
        "clReleaseMemObject": "CL_INVALID_MEM_OBJECT",
        "clReleaseProgram": "CL_INVALID_PROGRAM",
        "clReleaseKernel": "CL_INVALID_KERNEL",
        "clReleaseEvent": "CL_INVALID_EVENT",
        "clReleaseSampler": "CL_INVALID_SAMPLER",
        "clRetainDevice": "CL_INVALID_DEVICE",
    }
    wrong = (ctypes.c_uint64 * 8)(slots["clFinish"])  # memory that is no object
    for name, code in expected.items():
        call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(slots[name])
        assert call(None) == code_of(code), name
        assert call(ctypes.addressof(wrong)) == code_of(code), name


def test_the_page_has_the_table() -> None:
    page = supported.PAGE.read_text()
    assert supported.written(page) == page, "run python -m proxy.native.supported --write"


def test_the_driver_speaks_this_release() -> None:
    version = ctypes.CDLL(str(run.driver())).haltere_opencl_version
    version.restype = ctypes.c_uint64
    assert version() == LAYOUT_VERSION << 32 | records.VERSION
