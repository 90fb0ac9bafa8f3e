"""The how-to is followed to the letter: its own code, announced as it says, passes the suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to-add-a-policy.md"
BLOCK = re.compile(r"`(?P<name>[\w.]+)`:\n\n```\w+\n(?P<text>.*?)```", re.DOTALL)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages with the page's policy installed in it, as pip would leave it."""
    files = {match["name"]: match["text"] for match in BLOCK.finditer(PAGE.read_text())}
    assert set(files) == {"smallest_first.py", "pyproject.toml", "test_smallest_first.py"}
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    ((group, entries),) = project["entry-points"].items()
    lines = [f"{key} = {value}\n" for key, value in entries.items()]
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "".join(lines))
    return tmp_path


def run(site: Path, *command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def suite(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = ("-q", "-p", "no:cacheprovider", "-n", "0")
    return run(
        site, "pytest", *quiet, "tests/policies/test_policy.py", "--policy", "smallest", *arguments
    )


def scenario(site: Path) -> subprocess.CompletedProcess[str]:
    return run(site, "pytest", "-q", "-p", "no:cacheprovider", str(site / "test_smallest_first.py"))


def test_the_policy_of_the_how_to_passes_the_suite(site: Path) -> None:
    done = suite(site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b9 passed", done.stdout), done.stdout


def test_the_scenario_of_the_how_to_passes(site: Path) -> None:
    done = scenario(site)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_policy_of_the_how_to_is_found_by_its_name(site: Path) -> None:
    done = run(site, "service.cli", "simulate", "--trace", "x", "--policy", "smallish")
    assert "'smallish' is none of elastic, " in done.stdout and ", smallest\n" in done.stdout


def test_a_name_that_is_taken_is_refused(site: Path) -> None:
    (points,) = site.glob("*.dist-info/entry_points.txt")
    points.write_text(points.read_text().replace("smallest =", "fifo ="))
    done = run(site, "service.cli", "simulate", "--trace", "x", "--policy", "fifo")
    assert done.returncode == 1
    assert "is announced by smallest_first:SmallestFirst and is one of haltere's" in done.stdout


def test_the_folder_of_the_how_to_can_be_installed(tmp_path: Path) -> None:
    """By pip, with the policy's own test in it; nothing is downloaded."""
    for match in BLOCK.finditer(PAGE.read_text()):
        (tmp_path / match["name"]).write_text(match["text"])
    alone = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    done = run(ROOT, "pip", "install", *alone, "--target", "there", ".", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    there = {path.name for path in (tmp_path / "there").iterdir()}
    assert there - {"__pycache__"} == {"smallest_first.py", "haltere_smallest-1.0.dist-info"}


def test_what_is_no_policy_is_refused(site: Path) -> None:
    (points,) = site.glob("*.dist-info/entry_points.txt")
    points.write_text(points.read_text().replace(":SmallestFirst", ":account"))
    done = run(site, "service.cli", "simulate", "--trace", "x", "--policy", "smallest")
    assert done.returncode == 1 and "is no class with a method plan" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("                free.take(best)\n                yield", "                yield"),
        ("if job.idle_until_us > view.now_us:", "if False:"),
        ("view.acceptable(job).values()", "[d.slices for d in view.devices.values()]"),
        ("if len(best) == job.spec.count:", "if best:"),
        ("                kept.update(dict.fromkeys(best, job.id))\n", ""),
        ("self._wake(view)", "None"),
        ("return job.rank, not", "return id(job), not"),
        ("self.patience_s", "self._patience_s"),
    ],
)
def test_a_mistake_in_the_policy_is_caught(site: Path, right: str, wrong: str) -> None:
    """The suite can fail, and does; of what this policy alone promises its scenario does."""
    path = site / "smallest_first.py"
    source = path.read_text()
    assert right in source
    path.write_text(source.replace(right, wrong))
    done = suite(site, "-x", "--assert=plain")
    if done.returncode == 0:
        done = scenario(site)
    assert done.returncode == 1 and "FAILED" in done.stdout, done.stdout + done.stderr
