"""The picture and the trace of a shared device say what it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from hal.errors import UsageError
from hal.timeline import DeviceSpan
from proxy.launcher import spawn
from service.fabric_timeline import MAX_DRAWN, PALETTE, SHARING, summary, write

MS = 1_000_000
SPANS = (
    DeviceSpan("reconfigure", "", 0, 0, 0, 1 * MS, "checksum"),
    DeviceSpan("run", "a", 0, 100, 1 * MS, 5 * MS, "checksum"),
    DeviceSpan("save", "a", 100, 120, 5 * MS, 6 * MS),
    DeviceSpan("run", "b", 120, 220, 7 * MS, 10 * MS, "checksum"),
)


def colours(png: Path) -> dict[str, int]:
    """How many pixels of the lanes have each of the colours that mean something."""
    pixels = np.round(imread(png)[..., :3] * 255).astype(int)
    wanted = {"a": PALETTE[0], "b": PALETTE[1], **SHARING}
    return {
        name: int((pixels == np.round(np.array(to_rgb(colour)) * 255)).all(axis=-1).sum())
        for name, colour in wanted.items()
    }


def test_the_picture_has_each_tenant_and_kind_by_the_time_it_took(tmp_path: Path) -> None:
    written = write(SPANS, "fpga-sim:0", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fpga-sim-0.png", "fpga-sim-0.trace.json",
    ]  # fmt: skip
    seen = colours(written.png)
    assert seen["a"] > seen["b"] > seen["save"] > 0
    assert seen["reconfigure"] > 0
    assert seen["a"] / seen["b"] == pytest.approx(4 / 3, rel=0.05)
    assert max(seen["restore"], seen["reset"]) < 0.01 * seen["save"]  # pixels of letters
    assert len(json.loads(written.trace.read_text())["traceEvents"]) == 1 + 3 + 5 + 3


def test_the_summary_adds_up() -> None:
    assert summary(SPANS) == (
        "2 tenants, 2 slices, 10.0 ms: run 70.0 %, save 10.0 %, reconfigure 10.0 %, idle 10.0 %"
    )


def test_a_long_record_is_drawn_from_its_end(tmp_path: Path) -> None:
    early = [DeviceSpan("run", "a", n, n + 1, n * 10, n * 10 + 9) for n in range(50)]
    late = [DeviceSpan("run", "b", n, n + 1, n * 10, n * 10 + 9) for n in range(50, 50 + MAX_DRAWN)]
    written = write([*early, *late], "fpga-sim:0", tmp_path)
    assert "2 tenants" in written.summary
    seen = colours(written.png)
    assert seen["a"] > 0 == seen["b"]  # the one tenant that is drawn has the first colour


def test_a_device_that_did_nothing_has_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing yet"):
        write((), "fpga-sim:0", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_device_without_a_timeline_is_told_in_a_line(tmp_path: Path) -> None:
    server = spawn("cpu:0", tmp_path)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", "timeline", "cpu:0"],
            capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "HALTERE_PROXY_ROOT": str(tmp_path)},
        )  # fmt: skip
    finally:
        server.stop()
    assert (done.returncode, "records no timeline" in done.stdout) == (1, True)
    assert "Traceback" not in done.stdout + done.stderr
