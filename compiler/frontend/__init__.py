"""Model files to the IR. The rest of the compiler knows nothing of ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from compiler.frontend.dims import parse_dim, symbols_of
from compiler.frontend.onnx import read_model
from compiler.frontend.translate import translate
from compiler.ir import Graph, verify

__all__ = ["load_graph", "parse_dim", "read_model", "symbols_of"]


def load_graph(source: bytes | Path, dims: Mapping[str, int] | None = None) -> Graph:
    """Parse, check and translate a model. Raises the CompileErrors that blame the model."""
    graph = translate(read_model(source), dims)
    verify(graph)
    return graph
