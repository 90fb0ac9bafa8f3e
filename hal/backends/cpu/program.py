"""A "numpy" image: checked, compiled, its entries ready to call. Format: see the package."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any

import numpy as np
import numpy.typing as npt

from hal.errors import DeviceFault, ProgramRejected
from hal.types import Grid, ProgramImage

Bytes = npt.NDArray[np.uint8]
Value = Bytes | bytes

MAX_SOURCE_BYTES = 1 << 20  # a kernel is a page of text; more is a mistake


class Program:
    """The entries of one image. Raises ProgramRejected."""

    def __init__(self, image: ProgramImage) -> None:
        namespace: dict[str, Any] = {"np": np, "u8": u8, "i32": i32, "u32": u32, "f32": f32}
        code, names = _compile(image)
        try:
            exec(code, namespace)
        except Exception as error:
            raise ProgramRejected(f"numpy image: its constants raise {error!r}") from error
        self._entries: dict[str, Callable[..., object]] = {name: namespace[name] for name in names}

    def bind(self, entry: str, grid: Grid, values: list[Value]) -> Callable[[], None]:
        """The call that runs `entry`. Raises ProgramRejected if there is no such entry or the
        count of arguments differs; the call itself raises DeviceFault."""
        function = self._entries.get(entry)
        if function is None:
            known = ", ".join(self._entries)
            raise ProgramRejected(f"launch {entry!r}: the image's entries are {known}")
        try:
            bound = inspect.signature(function).bind(grid, *values)
        except TypeError as error:
            raise ProgramRejected(
                f"launch {entry!r} with {len(values)} arguments after grid: {error}"
            ) from error

        def run() -> None:
            try:
                with np.errstate(all="ignore"):  # IEEE results, as a device gives them
                    function(*bound.args)
            except Exception as error:
                raise DeviceFault(f"kernel {entry!r} raised {error!r}") from error

        return run


def _compile(image: ProgramImage) -> tuple[CodeType, list[str]]:
    if image.options:
        raise ProgramRejected(f"numpy image: takes no build options, got {image.options!r}")
    if len(image.payload) > MAX_SOURCE_BYTES:
        raise ProgramRejected(
            f"numpy image: {len(image.payload)} bytes of source; at most {MAX_SOURCE_BYTES}"
        )
    try:
        source = image.payload.decode("utf-8")
        tree = ast.parse(source, "<numpy image>")
        _check(tree)
        code = compile(tree, "<numpy image>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ProgramRejected(f"numpy image does not compile: {error}") from error
    names = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    if not names:
        raise ProgramRejected("numpy image: defines no entry (a top-level function)")
    return code, names


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
