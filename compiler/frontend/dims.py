"""Numbers for a model's symbolic dimensions, as a caller gives them."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index

from compiler.errors import CompileError, DynamicShape
from compiler.frontend.raw import RawModel


def parse_dim(text: str) -> tuple[str, int]:
    """Of a command line: symbol=number. Raises CompileError."""
    symbol, _, number = text.rpartition("=")
    if not symbol or not number.isdecimal():
        raise CompileError(f"--dim {text!r}: write it as symbol=number, e.g. --dim steps=8")
    return symbol, int(number)


def symbols_of(raw: RawModel) -> tuple[str, ...]:
    """Of its inputs, in the model's order."""
    found = (dim for shape in raw.inputs.values() for dim in shape if isinstance(dim, str))
    return tuple(dict.fromkeys(found))


def checked_dims(raw: RawModel, given: Mapping[str, int] | None) -> dict[str, int]:
    """Raises CompileError for what is no number above zero, DynamicShape for a symbol that the
    model does not have."""
    if not isinstance(given or {}, Mapping):
        raise CompileError(f'dims={given!r}: give a mapping, e.g. dims={{"steps": 8}}')
    dims: dict[str, int] = {}
    for symbol, number in (given or {}).items():
        try:
            dims[symbol] = 0 if isinstance(number, bool) else index(number)
        except TypeError:
            dims[symbol] = 0
        if dims[symbol] < 1:
            raise CompileError(f"dimension {symbol!r} is {number!r}; it must be a number above 0")
    symbols = symbols_of(raw)
    unknown = [repr(symbol) for symbol in dims if symbol not in symbols]
    if unknown:
        raise DynamicShape(
            f"the model has no symbolic dimension {', '.join(unknown)}; it has "
            f"{', '.join(map(repr, symbols)) or 'none'}"
        )
    return dims
