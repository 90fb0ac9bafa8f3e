"""What the manuals show can be typed in: command lines are understood, files are read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from scheduler.quota_file import read_quotas
from scheduler.sim.cluster import read_cluster
from scheduler.sim.planets import read_planet
from service.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
LINE = re.compile(r"^(?: {4}|\$ |)(?:[A-Z_]+=\S+ )*haltere (?P<words>.*)$")
REST = re.compile(r"\s#.*| &+.*| \|.*| > .*|\\$")  # comments, and what the shell does
TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)


def shown() -> list[tuple[str, str]]:
    """Command lines in blocks of the pages."""
    found = []
    for page in PAGES:
        fenced = False
        for line in page.read_text().splitlines():
            fenced ^= line.startswith("```")
            match = LINE.match(line)
            if match and (fenced or line.startswith("    ")):
                found.append((page.name, REST.sub("", match["words"])))
    return sorted(set(found))


@pytest.mark.parametrize(("page", "words"), shown())
def test_a_command_line_of_a_page_is_understood(page: str, words: str) -> None:
    command: click.Command = typer.main.get_command(app)
    args, context = shlex.split(words), None
    while isinstance(command, click.Group):
        context = command.make_context("haltere", list(args), parent=context)
        _, found, args = command.resolve_command(context, args)
        assert found is not None
        command = found
    command.make_context(command.name, args, parent=context)  # UsageError if it is not


def test_the_pages_show_commands() -> None:
    pages = [page for page, _ in shown()]
    assert pages.count("README.md") > 15 and pages.count("hierarchy.md") > 3


def test_files_of_clusters_planets_and_quotas_are_read_as_shown(tmp_path: Path) -> None:
    path = tmp_path / "shown.toml"
    read = set()
    for page in ("scheduler.md", "hierarchy.md"):
        for text in TOML.findall((ROOT / "docs" / page).read_text()):
            path.write_text(text)
            if "[[nodes]]" in text:
                assert read_cluster(str(path)).devices == 64
            elif "[[quota]]" in text:
                assert read_quotas(path, ["gpu"]).own("ann", "gpu") == 16
            else:
                assert read_planet(str(path)).devices() == 1280
            read.add(re.search(r"\[\[(\w+)\]\]", text)[1])  # type: ignore[index]
    assert read == {"nodes", "quota", "region"}
