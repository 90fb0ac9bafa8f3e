"""Instances of one module that came out equal become one module again.

slang elaborates every instance on its own and names its module after the instance's path. What the
text of two of them says is equal but for the numbers in made-up names; then one stands for both,
and what capture emits, and a simulator compiles, is as small as what the author wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from rtl_sim.capture.netlist import Module

_MODULE = re.compile(r"^module (\S+)$", re.MULTILINE)
_INSTANCE = re.compile(r"^(  cell )(\\\S+)( .*)$", re.MULTILINE)
_HEAD = re.compile(r"^(?:#|autoidx ).*\n", re.MULTILINE)  # of the file, before its first module
_PARAMOD = re.compile(r"\$paramod(?:\$[0-9a-f]+)?\\([^\\]+)")
_MADE_UP = re.compile(r"(?<![\w\\$])\$[^\s\"]*\d[^\s\"]*")
_DIGITS = re.compile(r"\d+")


def unify(rtlil: str) -> tuple[str, dict[str, str]]:
    """The design with one module for each kind, and for every module the one that stands for it."""
    *bodies, tail = re.split(r"(?<=^end\n)", rtlil, flags=re.MULTILINE)
    modules: dict[str, str] = {}
    for body in bodies:
        match = _MODULE.search(body)
        assert match, body[:200]
        modules[match[1]] = body
    stands: dict[str, str] = {}
    while True:  # ends: each turn removes a module
        first: dict[str, str] = {}
        found = {}
        for name, body in modules.items():
            original = first.setdefault(_content(name, body), name)
            if original != name:
                found[name] = original
        if not found:
            break
        stands.update(found)
        modules = {
            name: _INSTANCE.sub(partial(_retyped, found), body)
            for name, body in modules.items()
            if name not in found
        }
    for name in stands:
        while stands[name] in stands:
            stands[name] = stands[stands[name]]
    return "".join(modules.values()) + tail, {
        name.removeprefix("\\"): other.removeprefix("\\") for name, other in stands.items()
    }


def apply(modules: Mapping[str, Module], stands: Mapping[str, str]) -> dict[str, Module]:
    """The same change for modules that have been read already."""
    return {
        name: replace(
            module,
            cells=tuple(
                replace(cell, kind=stands[cell.kind]) if cell.kind in stands else cell
                for cell in module.cells
            ),
        )
        for name, module in modules.items()
        if name not in stands
    }


def mark_memories(rtlil: str, memories: Iterable[tuple[str, str]], mark: str) -> str:
    """The design with the attribute `mark` at these (module, memory)."""
    wanted = {(f"\\{module}", memory) for module, memory in memories}
    lines = []
    module = ""
    for line in rtlil.splitlines():
        words = line.split()
        if line.startswith("module "):
            module = words[1]
        elif line.startswith("  memory ") and (module, words[-1]) in wanted:
            lines.append(f"  attribute \\{mark} 1")
        lines.append(line)
    return "\n".join(lines) + "\n"


def definition(name: str) -> str:
    """The RTL's name of a module that Yosys or slang named after its parameters or its place."""
    made = _PARAMOD.match(name)
    return made[1] if made else name.partition("$")[0]


def _retyped(stands: Mapping[str, str], instance: re.Match[str]) -> str:
    return instance[1] + stands.get(instance[2], instance[2]) + instance[3]


def _content(name: str, body: str) -> str:
    """What the module says, its own name reduced to its definition's and made-up numbers recounted.

    Two top-level designs of one file stay apart: a name that holds no path is kept whole.
    """
    numbers: dict[str, str] = {}

    def recount(match: re.Match[str]) -> str:
        name = match[0]
        return numbers.setdefault(name, f"{_DIGITS.sub('', name)}#{len(numbers)}")

    text = _HEAD.sub("", body.replace(f"module {name}\n", f"module {definition(name)}\n", 1))
    return _MADE_UP.sub(recount, text)
