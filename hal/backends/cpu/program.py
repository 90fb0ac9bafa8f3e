"""A "numpy" image: checked, compiled, its entries ready to call. Format: see the package."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

import numpy as np
import numpy.typing as npt

from hal.errors import DeviceFault, ProgramRejected
from hal.types import Arg, BufferArg, Grid, ProgramImage, ScalarArg

Bytes = npt.NDArray[np.uint8]
Value = Bytes | bytes
Kinds = tuple[type[BufferArg] | type[ScalarArg], ...]

KINDS: dict[str | None, type[BufferArg] | type[ScalarArg]] = {
    "buffer": BufferArg,
    "scalar": ScalarArg,
}
MAX_SOURCE_BYTES = 1 << 20  # a kernel is a page of text; more is a mistake


@dataclass(frozen=True, slots=True)
class Entry:
    function: Callable[..., object]
    kinds: tuple[type[BufferArg] | type[ScalarArg], ...]


class Program:
    """The entries of one image. Raises ProgramRejected."""

    def __init__(self, image: ProgramImage) -> None:
        code, kinds = _compile(image)
        namespace: dict[str, Any] = {"np": np, "u8": u8, "i32": i32, "u32": u32, "f32": f32}
        try:
            exec(code, namespace)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too
            raise ProgramRejected(f"numpy image: its top level raises {error!r}") from error
        self._entries = {name: Entry(namespace[name], kinds[name]) for name in kinds}

    def check(self, entry: str, args: Sequence[Arg]) -> Callable[..., object]:
        """The function, once `args` are seen to be of its number and kinds."""
        found = self._entries.get(entry)
        if found is None:
            raise ProgramRejected(
                f"launch {entry!r}: the image's entries are {', '.join(self._entries)}"
            )
        check_kinds(entry, found.kinds, args)
        return found.function


def check_kinds(entry: str, kinds: Kinds, args: Sequence[Arg]) -> None:
    """Raises ProgramRejected unless there are as many arguments, of these kinds."""
    if tuple(type(arg) for arg in args) != kinds:
        raise ProgramRejected(
            f"launch {entry!r}: got ({', '.join(type(arg).__name__ for arg in args)}); it "
            f"takes ({', '.join(kind.__name__ for kind in kinds)})"
        )


def call(function: Callable[..., object], entry: str, grid: Grid, values: Sequence[Value]) -> None:
    """Run a kernel. Raises DeviceFault for whatever it raises, SystemExit included: a tenant's
    kernel does not end the process that serves others. Not for Ctrl-C, which is not its own."""
    try:
        with np.errstate(all="ignore"):  # IEEE results, as a device gives them
            function(grid, *values)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DeviceFault(f"kernel {entry!r} raised {error!r}") from error


def _compile(image: ProgramImage) -> tuple[CodeType, dict[str, Kinds]]:
    if image.options:
        raise ProgramRejected(f"numpy image: takes no build options, got {image.options!r}")
    if len(image.payload) > MAX_SOURCE_BYTES:
        raise ProgramRejected(
            f"numpy image: {len(image.payload)} bytes of source; at most {MAX_SOURCE_BYTES}"
        )
    try:
        tree = ast.parse(image.payload.decode("utf-8"), "<numpy image>")
        _check(tree)
        kinds = {
            node.name: _kinds(node)
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        }
        code = compile(tree, "<numpy image>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ProgramRejected(f"numpy image does not compile: {error}") from error
    if not kinds:
        raise ProgramRejected("numpy image: defines no entry (a top-level function)")
    return code, kinds


def _kinds(node: ast.FunctionDef) -> Kinds:
    """From the annotations, which are then dropped: they are the format's, not Python's."""
    shape = node.args
    plain = [*shape.posonlyargs, *shape.args]
    if not plain or shape.vararg or shape.kwarg or shape.kwonlyargs or shape.defaults:
        raise ProgramRejected(f"numpy image: {node.name} must take grid and plain parameters")
    kinds = []
    for parameter in plain[1:]:
        word = parameter.annotation.id if isinstance(parameter.annotation, ast.Name) else None
        if word not in KINDS:
            raise ProgramRejected(
                f"numpy image: annotate parameter {parameter.arg!r} of {node.name} with buffer "
                "or scalar"
            )
        kinds.append(KINDS[word])
        parameter.annotation = None
    return tuple(kinds)


def _check(tree: ast.Module) -> None:
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not (docstring or isinstance(node, ast.FunctionDef | ast.Assign)):
            raise ProgramRejected(
                f"numpy image, line {node.lineno}: {type(node).__name__} at top level; functions "
                "and constants only"
            )
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Import | ast.ImportFrom):
            raise ProgramRejected(f"numpy image, line {inner.lineno}: imports are not allowed")


def _typed(value: Value, dtype: type[np.generic]) -> Any:
    """A view of a buffer as elements, or a scalar's value."""
    size = np.dtype(dtype).itemsize
    if isinstance(value, bytes):
        if len(value) != size:
            raise ValueError(f"scalar of {len(value)} bytes used as {dtype.__name__}")
        return np.frombuffer(value, dtype)[0]
    return value[: value.size // size * size].view(dtype)


def u8(value: Value) -> Any:
    return _typed(value, np.uint8)


def i32(value: Value) -> Any:
    return _typed(value, np.int32)


def u32(value: Value) -> Any:
    return _typed(value, np.uint32)


def f32(value: Value) -> Any:
    return _typed(value, np.float32)
