"""The page on how a decision is made is true: its commands print what it says they print."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-a-decision-is-made.md").read_text()
CONSOLE = re.compile(r"```console\n\$ (?P<command>[^\n]*)\n(?P<output>.*?)```", re.DOTALL)
PYCON = re.compile(r"```pycon\n(.*?)```", re.DOTALL)


def run(command: str, folder: Path) -> str:
    program, *words = command.split()
    asked = ["-m", "service.cli"] if program == "haltere" else [str(ROOT / words.pop(0))]
    done = subprocess.run(
        [sys.executable, *asked, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With what the page's first command has made."""
    made = tmp_path_factory.mktemp("how")
    first = CONSOLE.search(PAGE)
    assert first and first["command"].startswith("python examples/")
    assert run(first["command"], made) == first["output"] == ""
    return made


@pytest.mark.parametrize("command", [found["command"] for found in CONSOLE.finditer(PAGE)][1:])
def test_a_command_of_the_page_prints_what_the_page_says(command: str, folder: Path) -> None:
    (shown,) = (found["output"] for found in CONSOLE.finditer(PAGE) if found["command"] == command)
    told = run(command, folder)
    if shown.startswith("...\n"):  # the page leaves the beginning out
        assert told.endswith("\n" + shown.removeprefix("...\n"))
    else:
        assert told == shown


def test_what_the_page_asks_in_python_is_answered_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    text = "\n".join(PYCON.findall(PAGE))
    found = doctest.DocTestParser().get_doctest(text, {}, "page", None, 0)
    assert len(found.examples) > 15
    told: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(found, out=told.append).failed == 0, told
