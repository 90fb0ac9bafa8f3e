"""`$display` and `$write` of the RTL, as Yosys's `$print` cells have them, in Verilog again.

And the tasks that `tasks.py` made messages of.

A cell has a format like "at {8:> 3d-u}: {16:> c}\\n" and the bits of all arguments as one pin, the
first argument lowest. Only what comes from Verilog is known here; what is more has a `why_not`.
"""

from __future__ import annotations

import re
from typing import Final

from rtl_sim.capture import tasks
from rtl_sim.capture.netlist import Cell
from rtl_sim.capture.scope import Scope

# size, justification, padding, width, base, the sign that a Verilog format leaves, signedness
_ITEM: Final = re.compile(r"\{(\d+):([<>=])([0 ])(\d*)([bodhct])(?:-?(s|u))?\}")
_PART: Final = re.compile(rf"{_ITEM.pattern}|(\{{\{{)|(\}}\}})|([^{{}}]+)")
_ESCAPES: Final = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\t": r"\t", "%": "%%"}


def named(cell: Cell) -> tuple[str, str]:
    """File and line, as far as they are known, and the task's name."""
    task, where, _ = tasks.marked(cell.params["FORMAT"])
    return where or cell.source, f"${task}" if task in tasks.TASKS else "$display"


def why_not(cell: Cell) -> str | None:
    """Why `statement` has no text for it; None: it has."""
    if not cell.number("TRG_ENABLE"):
        return "it acts whenever something changes, and a halt changes something"
    if not cell.pins["TRG"]:
        return "it acts before anything runs"
    if any(isinstance(bit, str) for bit in cell.pins["TRG"]):
        return "its clock is a constant, so it never acts"
    task, _, text = tasks.marked(cell.params["FORMAT"])
    if task == tasks.LOST:
        return "the reader has no code for what it prints"
    return None if task else _unprintable(text)  # an error is one without its text, too


def _unprintable(text: str) -> str | None:
    items = list(_PART.finditer(text))
    if sum(len(item[0]) for item in items) != len(text):
        return f"capture does not know its format {text!r}"
    if any(item[1] == "0" and item[5] != "t" for item in items):
        return "the reader lost a text among its arguments"
    return None


def statement(cell: Cell, scope: Scope) -> str:
    """What a cell that has no `why_not` does: mostly `$write`."""
    task, _, given = tasks.marked(cell.params["FORMAT"])
    if task in ("finish", "stop"):
        return f"${task};"
    if task:  # these end their line themselves
        given = "" if _unprintable(given) else given.removesuffix("\n")
    text, arguments, low = "", [], 0
    for part in _PART.finditer(given):
        size, justify, padding, width, base, signed, opened, closed, plain = part.groups()
        if size is None:
            text += _escaped(plain or (opened or closed)[0])
            continue
        if base == "t":
            argument = "$time"
        else:
            argument = scope.render(cell.pins["ARGS"][low : low + int(size)])
            low += int(size)
        if signed == "s":
            argument = f"$signed({argument})"
        fill = "-" if justify == "<" else "0" if padding == "0" or not width else ""
        text += f"%{fill if base != 'c' or width else ''}{width}{'s' if base == 'c' else base}"
        arguments.append(argument)
    quoted = f'"{text}"'
    first = ["1"] if task == "fatal" else []
    return f"${task or 'write'}({', '.join([*first, quoted, *arguments])});"


def _escaped(text: str) -> str:
    return "".join(
        _ESCAPES.get(char) or (char if char.isprintable() and char.isascii() else _octal(char))
        for char in text
    )


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode())
