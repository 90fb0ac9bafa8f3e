"""Real programs, unmodified: each prints the same, digit for digit, natively and through the
proxy. What is printed contains digests of results."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
from opencl_sides import HERE, Side

APPLICATIONS = HERE / "applications"
TRAIN = HERE.parents[1] / "examples" / "train_tinygrad.py"
COLD_S = 550.0  # with compiled kernels in the cache a tenth of it


def compare(native: Side, proxied: Side, *arguments: str | Path) -> list[str]:
    command = [sys.executable, "-W", "ignore", *map(str, arguments)]
    expected = native.run(command, COLD_S).checked()
    assert len(expected.lines) > 1
    assert proxied.run(command, COLD_S).checked().lines == expected.lines
    return expected.lines


def test_the_documentations_examples(native: Side, proxied: Side) -> None:
    lines = compare(native, proxied, APPLICATIONS / "tour.py")
    # The second time pyopencl finds its programs' binaries in its cache.
    assert compare(native, proxied, APPLICATIONS / "tour.py") == lines


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("script", "needs"),
    [("arrays.py", "mako"), ("loops.py", "loopy"), ("boosting.py", "lightgbm")],
)
def test_a_library_computes_the_same(native: Side, proxied: Side, script: str, needs: str) -> None:
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    compare(native, proxied, APPLICATIONS / script)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_a_net_is_trained_to_the_same_weights(native: Side, proxied: Side, net: str) -> None:
    lines = compare(native, proxied, TRAIN, "--net", net, "--steps", "12", "--every", "1")
    assert len(lines) == 13
    assert lines[-1].startswith("weights ")


def test_clinfo_sees_the_same_device(native: Side, proxied: Side) -> None:
    """All of clinfo but what is ours: the platform, and what a proxy does not offer."""
    if shutil.which("clinfo") is None:
        pytest.skip("clinfo is not installed")
    ours = (
        "CL_PLATFORM_", "CL_DEVICE_SVM_", "CL_DEVICE_PARTITION_", "CL_DEVICE_QUEUE_ON_DEVICE_",
        "CL_DEVICE_EXECUTION_CAPABILITIES", "CL_DEVICE_HOST_UNIFIED_MEMORY",
        "CL_DEVICE_GLOBAL_MEM_SIZE", "CL_DEVICE_MAX_MEM_ALLOC_SIZE",
        "CL_DEVICE_MAX_CLOCK_FREQUENCY", "CL_DEVICE_PRINTF_BUFFER_SIZE", "CL_DRIVER_VERSION",
        "CL_DEVICE_PREFERRED_PLATFORM_ATOMIC_ALIGNMENT",
    )  # fmt: skip

    def fields(side: Side) -> dict[str, str]:
        found = {}
        for line in side.run(["clinfo", "--raw"]).checked().lines:
            words = line.split(maxsplit=2)
            if len(words) == 3 and words[1].startswith("CL_DEVICE_"):
                found[words[1]] = " ".join(words[2].split())
        return {name: value for name, value in found.items() if not name.startswith(ours)}

    expected = fields(native)
    assert len(expected) > 60
    assert fields(proxied) == expected
