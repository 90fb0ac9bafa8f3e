"""The how-to is followed to the letter: its own code, announced as it says, passes the suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "how-to-add-a-backend.md"
BLOCK = re.compile(r"`(?P<name>[\w.]+)`:\n\n```\w+\n(?P<text>.*?)```", re.DOTALL)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages with the page's backend installed in it, as pip would leave it."""
    files = {match["name"]: match["text"] for match in BLOCK.finditer(PAGE.read_text())}
    assert set(files) == {"toy_backend.py", "pyproject.toml"}
    project = tomllib.loads(files["pyproject.toml"])["project"]
    (tmp_path / "toy_backend.py").write_text(files["toy_backend.py"])
    name, version = project["name"].replace("-", "_"), project["version"]
    info = tmp_path / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return tmp_path


def run(site: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def conform(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    return run(site, "-m", "pytest", *quiet, "tests/conformance", *arguments)


def passed(done: subprocess.CompletedProcess[str]) -> int:
    found = re.search(r"(\d+) passed", done.stdout)
    return int(found[1]) if found else 0


def test_the_backend_of_the_how_to_passes_its_self_tests(site: Path) -> None:
    done = run(site, "-m", "hal", "toy:0", "toy:1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASS") == 4


def test_the_backend_of_the_how_to_conforms(site: Path) -> None:
    done = conform(site, "--device", "toy:0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert passed(done) > 50, done.stdout


def test_the_backend_of_the_how_to_conforms_behind_its_proxy(site: Path) -> None:
    done = conform(site, "--device", "proxy:toy:0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert passed(done) > 50, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "caught_by"),
    [
        ("self._buffers[buffer], bytes(data)", "self._buffers[buffer], data", "reused_at_once"),
        ("_put(target, offset, copy)", "_put(target, 0, copy)", "write_at_an_offset"),
        ("a ^ b,", "a | b,", "known_answers"),
        ("        while self._queue:\n", "        while False:\n", "halted_and_moved"),
        ("        if state:\n", "        if False:\n", "refused_state"),
        (
            "popleft()()\n        self._queue.append",
            "popleft()\n        self._queue.append",
            "holds",
        ),
        ("self._done = seq\n", "self._done = Seq(9999)\n", "order_given"),
    ],
)
def test_a_mistake_in_the_backend_is_caught(
    site: Path, right: str, wrong: str, caught_by: str
) -> None:
    """The suite can fail, and the test that should notice does."""
    path = site / "toy_backend.py"
    source = path.read_text()
    assert source.count(right) == 1
    path.write_text(source.replace(right, wrong))
    # plain: where CI is set, pytest would show the whole difference of two large byte strings
    done = conform(site, "--device", "toy:0", "-x", "--assert=plain", "-k", caught_by)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED" in done.stdout
