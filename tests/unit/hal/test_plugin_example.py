"""examples/uart, a project that knows nothing of haltere but its plugin, run as its owner would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hal.testing.fpga_sim import absence

pytestmark = pytest.mark.skipif(absence() is not None, reason=str(absence()))

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 500


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy elsewhere, so that nothing of this repository is found by chance."""
    return Path(shutil.copytree(ROOT / "examples" / "uart", tmp_path / "uart"))


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_the_example_passes_in_parallel(project: Path, plugin_arguments: tuple[str, ...]) -> None:
    done = run(project, *plugin_arguments, "-q", "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 passed" in done.stdout
    assert "haltere: 9 halted runs, 27 moves, first seed 0" in done.stdout


def test_its_broken_design_fails_with_a_waveform(
    project: Path, plugin_arguments: tuple[str, ...]
) -> None:
    done = run(project, *plugin_arguments, "-q", "--assert=plain", "broken")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert "2 failed" in done.stdout
    shown = [line for line in done.stdout.splitlines() if line.startswith("waveform: ")]
    waves = [Path(line.removeprefix("waveform: ")) for line in shown]
    assert waves
    assert all("write_at" in path.read_text() for path in waves)
