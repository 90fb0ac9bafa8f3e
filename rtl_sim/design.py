"""A design as its owner describes it: sources, top, parameters, and what its clocks and resets are.

Read from `design.toml` (keys are the fields of `Design`, paths relative to the file) or from a
file list `.f` as simulators take it. Must not know what is done with a design.
"""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from rtl_sim.errors import DesignError

_MAX_NESTED_LISTS: Final = 16


@dataclass(frozen=True, slots=True)
class Design:
    """RTL and how to drive it.

    `sources` in order, packages first; `top` "" is the module that nothing instantiates.
    `clocks`: clock ports, the primary one first; (): found. `resets`: reset port -> active level,
    `hold`: input port -> value it always has; both are for stimulus that is generated.
    """

    sources: tuple[Path, ...]
    top: str = ""
    params: Mapping[str, int | str] = field(default_factory=dict)
    include: tuple[Path, ...] = ()
    defines: Mapping[str, str] = field(default_factory=dict)
    clocks: tuple[str, ...] = ()
    resets: Mapping[str, int] = field(default_factory=dict)
    hold: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, level in self.resets.items():
            if level not in (0, 1):
                raise DesignError(f"reset {name} is active at level {level!r}: say 0 or 1")


_NUMBER: Final = re.compile(r"[+-]?\d[\d_]*(\.\d+)?([eE][+-]?\d+)?\Z|\d*'[sS]?[bodhBODH][\w?]+\Z")


def literal(value: int | str) -> str:
    """A parameter's value as Verilog writes it.

    A text that is a number to Verilog (`1.5`, `8'hff`) is that number; any other is a string.
    """
    text = str(value)
    if isinstance(value, int) or _NUMBER.match(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def load_design(path: Path) -> Design:
    """The design that `path` describes: a TOML file, or a file list when it ends in `.f`.

    Raises DesignError when the file is missing or says something that no design has.
    """
    if not path.is_file():
        raise DesignError(f"the design's description {path} does not exist")
    if path.suffix == ".f":
        return _from_list(path, 0)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DesignError(f"{path} is not TOML: {error}") from error
    return _from_table(raw, path)


def _from_table(raw: Mapping[str, Any], path: Path) -> Design:
    known = [entry.name for entry in fields(Design)]
    for key in raw:
        if key not in known:
            raise DesignError(f"{path}: unknown key {key!r}; a design has {', '.join(known)}")
    if not raw.get("sources"):
        raise DesignError(f"{path} names no sources")
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key == "top":
            good = isinstance(value, str)
        elif key in ("sources", "include", "clocks"):
            good = isinstance(value, list) and all(isinstance(item, str) for item in value)
            value = tuple(value) if key == "clocks" else _paths(path.parent, value)
        else:
            numbers = (int, float, str) if key in ("params", "defines") else (int,)
            good = isinstance(value, dict) and all(isinstance(v, numbers) for v in value.values())
        if not good:
            raise DesignError(f"{path}: {key} = {raw[key]!r} has the wrong type")
        if key == "params":  # a real number is passed as it is written
            value = {n: str(v) if isinstance(v, float) else v for n, v in value.items()}
        values[key] = value
    if "defines" in values:
        values["defines"] = {name: str(value) for name, value in values["defines"].items()}
    return Design(**values)


def _paths(folder: Path, names: Any) -> tuple[Path, ...]:
    return tuple(folder / str(name) for name in names) if isinstance(names, list) else ()


def _from_list(path: Path, depth: int) -> Design:
    """Sources, +incdir+DIR, +define+NAME=VALUE, -I DIR, -D NAME=VALUE, -f FILE, --top NAME."""
    if depth > _MAX_NESTED_LISTS:
        raise DesignError(f"{path}: file lists include each other {depth} deep")
    design = Design(())
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            words = shlex.split(os.path.expandvars(line.partition("//")[0]), comments=True)
        except ValueError as error:
            raise DesignError(f"{path}:{number}: {error}") from error
        while words:
            word = words.pop(0)
            if word in ("-f", "-F", "-I", "-D", "--top", "-top"):
                if not words:
                    raise DesignError(f"{path}:{number}: nothing follows {word}")
                design = _option(design, word, words.pop(0), path, depth)
            elif word.startswith(("+incdir+", "+define+")):
                kind, *items = word[1:].split("+")
                for item in filter(None, items):
                    design = _option(design, {"incdir": "-I"}.get(kind, "-D"), item, path, depth)
            elif word[:2] in ("-I", "-D"):
                design = _option(design, word[:2], word[2:], path, depth)
            elif word[0] in "-+":
                raise DesignError(f"{path}:{number}: {word} is not known in a file list")
            else:
                design = replace(design, sources=(*design.sources, path.parent / word))
    if not design.sources and not depth:
        raise DesignError(f"{path} names no sources")
    return design


def _option(design: Design, option: str, value: str, path: Path, depth: int) -> Design:
    if option == "-I":
        return replace(design, include=(*design.include, path.parent / value))
    if option == "-D":
        name, _, text = value.partition("=")
        return replace(design, defines={**design.defines, name: text})
    if option in ("--top", "-top"):
        return replace(design, top=value)
    inner = path.parent / value
    if not inner.is_file():
        raise DesignError(f"{path}: the file list {inner} does not exist")
    more = _from_list(inner, depth + 1)
    return replace(
        design,
        sources=(*design.sources, *more.sources),
        include=(*design.include, *more.include),
        defines={**design.defines, **more.defines},
        top=more.top or design.top,
    )
