"""What each combinational cell computes, as one Verilog expression.

Expressions are written to be assigned to a variable exactly as wide as the cell's output; within
such an assignment Verilog and Yosys extend, sign and truncate alike, which is why no expression
is ever nested into another here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from rtl_sim.capture.netlist import Bits, Cell

# Renders bits of the module as a Verilog operand (a name, a slice or a concatenation).
Render = Callable[[Bits], str]

_UNARY: Final = {
    "$not": "~",
    "$pos": "",
    "$buf": "",
    "$neg": "-",
    "$logic_not": "!",
    "$reduce_and": "&",
    "$reduce_or": "|",
    "$reduce_xor": "^",
    "$reduce_xnor": "~^",
    "$reduce_bool": "|",
}
_BINARY: Final = {
    "$add": "+",
    "$sub": "-",
    "$mul": "*",
    "$div": "/",
    "$mod": "%",
    "$pow": "**",
    "$and": "&",
    "$or": "|",
    "$xor": "^",
    "$xnor": "~^",
    "$lt": "<",
    "$le": "<=",
    "$gt": ">",
    "$ge": ">=",
    "$eq": "==",
    "$ne": "!=",
    "$eqx": "==",
    "$nex": "!=",
    "$logic_and": "&&",
    "$logic_or": "||",
}
_SHIFT: Final = {"$shl": "<<", "$sshl": "<<<", "$shr": ">>", "$sshr": ">>>"}


def _operand(cell: Cell, pin: str, render: Render) -> str:
    text = render(cell.pins[pin])
    return f"$signed({text})" if cell.flag(f"{pin}_SIGNED") else text


def _unary(cell: Cell, render: Render) -> str:
    return f"{_UNARY[cell.kind]}{_operand(cell, 'A', render)}"


def _binary(cell: Cell, render: Render) -> str:
    if cell.flag("A_SIGNED") and cell.flag("B_SIGNED"):
        # Verilog itself extends the sign: written out, a simulator would do it at every cycle.
        left, right = (f"$signed({render(_unextended(cell.pins[pin]))})" for pin in "AB")
    else:
        left, right = _operand(cell, "A", render), _operand(cell, "B", render)
    return f"{left} {_BINARY[cell.kind]} {right}"


def _unextended(bits: Bits) -> Bits:
    """A signed number without the copies of its sign."""
    width = len(bits)
    while width > 1 and bits[width - 2] == bits[-1]:
        width -= 1
    return bits[:width]


def _shift(cell: Cell, render: Render) -> str:
    return f"{_operand(cell, 'A', render)} {_SHIFT[cell.kind]} {render(cell.pins['B'])}"


def _indexed(cell: Cell, render: Render) -> str:
    """$shift and $shiftx: a part of A that begins at B; a negative B shifts to the left."""
    value, amount = _operand(cell, "A", render), render(cell.pins["B"])
    if not cell.flag("B_SIGNED") or cell.pins["B"][-1] == "0":
        return f"{value} >> {amount}"
    sign = render(cell.pins["B"][-1:])
    width = len(cell.pins["B"])
    return f"{sign} ? {value} << {width}'d0 - {amount} : {value} >> {amount}"


def _mux(cell: Cell, render: Render) -> str:
    pins = cell.pins
    return f"{render(pins['S'])} ? {render(pins['B'])} : {render(pins['A'])}"


def _pmux(cell: Cell, render: Render) -> str:
    """At most one select bit is ever set, so the order in which they are asked is free."""
    width = cell.number("WIDTH")
    arms = [
        f"{render((select,))} ? {render(cell.pins['B'][i * width : (i + 1) * width])} : "
        for i, select in enumerate(cell.pins["S"])
    ]
    return "".join(arms) + render(cell.pins["A"])


def _bmux(cell: Cell, render: Render) -> str:
    """Word S of the 2^n words in A, as nested choices by one bit of S each."""
    width = cell.number("WIDTH")

    def choose(words: Bits, selects: Bits) -> str:
        if not selects:
            return render(words)
        half = len(words) // 2
        high, low = choose(words[half:], selects[:-1]), choose(words[:half], selects[:-1])
        return f"({render(selects[-1:])} ? {high} : {low})"

    assert len(cell.pins["A"]) == width << len(cell.pins["S"])
    return choose(cell.pins["A"], cell.pins["S"])


def _demux(cell: Cell, render: Render) -> str:
    """A at place S of a row of 2^n words that are 0 elsewhere."""
    value, place = render(cell.pins["A"]), render(cell.pins["S"])
    width = cell.number("WIDTH")
    return f"{value} << {place}" if width == 1 else f"{value} << ({place} * 32'd{width})"


def _bwmux(cell: Cell, render: Render) -> str:
    a, b, s = (render(cell.pins[pin]) for pin in "ABS")
    return f"({a} & ~{s}) | ({b} & {s})"


_WRITERS: Final[Mapping[str, Callable[[Cell, Render], str]]] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_SHIFT, _shift),
    "$shift": _indexed,
    "$shiftx": _indexed,
    "$mux": _mux,
    "$pmux": _pmux,
    "$bmux": _bmux,
    "$bwmux": _bwmux,
    "$demux": _demux,
}

COMBINATIONAL: Final = frozenset(_WRITERS)


def expression(cell: Cell, render: Render) -> str:
    return _WRITERS[cell.kind](cell, render)
