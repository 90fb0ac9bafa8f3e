"""A design as command lines describe it: one description for every command that takes designs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from rtl_sim.design import Design, load_design
from rtl_sim.errors import DesignError


def add(made: argparse.ArgumentParser) -> None:
    """What describes a design; `design` reads it."""
    made.add_argument(
        "sources", nargs="*", type=Path, metavar="SOURCE",
        help="one design.toml, a file list (.f), or Verilog (.v) and SystemVerilog (.sv) files, "
        "packages first",
    )  # fmt: skip
    made.add_argument("-f", dest="lists", action="append", default=[], type=Path, metavar="FILE.f",
                      help="a file list as simulators take it; may be repeated")  # fmt: skip
    group = made.add_argument_group("design")
    group.add_argument("--top", default="", help="top module; found when only one can be it")
    group.add_argument("--param", action="append", default=[], type=_pair, metavar="NAME=VALUE",
                        help="parameter of the top: a number, or a text")  # fmt: skip
    group.add_argument("--define", action="append", default=[], type=_define,
                        metavar="NAME[=VALUE]", help="macro for the preprocessor")  # fmt: skip
    group.add_argument("--include", action="append", default=[], type=Path, metavar="DIR",
                        help="where `include looks")  # fmt: skip
    group.add_argument("--clock", action="append", default=[], metavar="PORT",
                        help="clock port, the primary one first; default: found")  # fmt: skip


def design(given: argparse.Namespace) -> Design:
    """The design that the arguments describe. Raises DesignError."""
    tables = [source for source in given.sources if source.suffix == ".toml"]
    if tables:
        if len(given.sources) > 1 or given.lists:
            raise DesignError(f"{tables[0]} describes the whole design: give no other sources")
        found = load_design(tables[0])
    else:
        files = [path for path in given.sources if path.suffix == ".f"]
        lists = [load_design(path) for path in (*given.lists, *files)]
        found = Design(
            sources=(
                *(path for one in lists for path in one.sources),
                *(path for path in given.sources if path not in files),
            ),
            top=next((one.top for one in lists if one.top), ""),
            include=tuple(path for one in lists for path in one.include),
            defines={name: text for one in lists for name, text in one.defines.items()},
        )
    if not found.sources:
        raise DesignError("no sources: give a design.toml, a file list with -f, or source files")
    params: Mapping[str, int | str] = {**found.params, **dict(given.param)}
    return replace(
        found,
        top=given.top or found.top,
        params=params,
        include=(*found.include, *given.include),
        defines={**found.defines, **dict(given.define)},
        clocks=tuple(given.clock) or found.clocks,
    )


def _pair(text: str) -> tuple[str, int | str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, int(value, 0)
    except ValueError:
        return name, value.removeprefix('"').removesuffix('"')


def _define(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
