"""Models on devices, for those who only want to call them.

    with hal.serve("model.onnx", device="fpga-sim:0") as m:
        y = m(x)                                   # batch 1, as fast as the device answers
        s = m.session()                            # remembers its recurrent state between calls
        s(x)
        kept = s.state().to_bytes()                # h and c, as bytes

    with hal.serve("model.onnx", device="cpu:0") as m:
        s = m.session(State.from_bytes(kept))      # goes on elsewhere

    async with hal.serve_async("model.onnx", device="fpga-sim:0") as m:
        y = await m(x)                             # many may await; the queue is bounded

What compiles the model is found in the entry point group `hal.compilers` (seam.py): every compiler
stands above the hal, which therefore names none, as it names no backend.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from hal.errors import Unsupported, UsageError
from hal.serving.async_model import AsyncModel, AsyncSession, Opening
from hal.serving.model import TIMEOUT_S, Model, Session, checked_timeout
from hal.serving.seam import Compiler, StateSpec, TensorSpec
from hal.serving.state import State

__all__ = [
    "AsyncModel",
    "AsyncSession",
    "Model",
    "Session",
    "State",
    "StateSpec",
    "TensorSpec",
    "serve",
    "serve_async",
]

GROUP = "hal.compilers"
MAX_PENDING = 64  # calls that wait or run; beyond it a caller had better know


def serve(
    model: str | Path | bytes,
    device: str,
    *,
    target: str | None = None,
    dims: Mapping[str, int] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Model:
    """Compile a model and put it on a device. Use as a context manager, or close it.

    model      a file, or its bytes
    device     URI: what computes the model, e.g. a simulated FPGA, the CPU, either behind a proxy
    target     what to compile for, in the compiler's words; by default what it thinks best
    dims       numbers for the model's symbolic dimensions, e.g. {"steps": 1}
    timeout_s  of each call, unless the call says otherwise

    Raises HalError, and what the compiler has for a model that it cannot compile.
    """
    checked_timeout(timeout_s)
    return Model(_compiler()(_source(model), device, target, dims), timeout_s)


def serve_async(
    model: str | Path | bytes,
    device: str,
    *,
    target: str | None = None,
    dims: Mapping[str, int] | None = None,
    timeout_s: float = TIMEOUT_S,
    max_pending: int = MAX_PENDING,
) -> Opening:
    """The same for `async with`. `max_pending` calls may wait or run; one more raises Busy."""
    checked_timeout(timeout_s)
    if not isinstance(max_pending, int) or max_pending < 1:
        raise UsageError(
            f"max_pending={max_pending!r}: a number of calls; at least one call must be able to run"
        )
    compiler, source = _compiler(), _source(model)
    return Opening(lambda: compiler(source, device, target, dims), timeout_s, max_pending)


def _source(model: str | Path | bytes) -> bytes | Path:
    if isinstance(model, bytes | bytearray | memoryview):
        return bytes(model)
    if not isinstance(model, str | os.PathLike):
        raise UsageError(f"model={model!r}: give an ONNX file's path, or its bytes")
    return Path(model)


def _compiler() -> Compiler:
    """The one that is installed. Raises Unsupported, UsageError."""
    entries = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    if len(entries) > 1:
        found = ", ".join(f"{entry.name} ({entry.value})" for entry in entries)
        raise UsageError(f"more than one compiler of models is installed: {found}; uninstall some")
    if not entries:
        raise Unsupported(
            f"no compiler of models is installed (entry point group {GROUP!r}): install haltere "
            "anew, pip install -e '.[all]'"
        )
    try:
        return cast(Compiler, entries[0].load())
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("", "hal", entries[0].module.partition(".")[0]):
            raise  # broken, not absent
        raise Unsupported(
            f"compiler {entries[0].name!r} needs the module {error.name!r}: install the extra that "
            "brings it, e.g. pip install 'haltere[all]'"
        ) from error
