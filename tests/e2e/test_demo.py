"""The main job, whole, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TIMEOUT_S = 900.0


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
def test_the_demo_ends_with_nothing_differing(tmp_path: Path) -> None:
    report = tmp_path / "report"
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "demo", "--report", str(report)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    checks = json.loads((report / "checks.json").read_text())
    assert len(checks) == 13
    assert all(check["ok"] for check in checks)
    for name in ("timeline.png", "fpga-sim-0.png", "fpga-sim-1.png"):
        assert (report / name).stat().st_size > 1000
    assert "http" not in (report / "timeline.html").read_text().replace("http://www.w3.org", "")
