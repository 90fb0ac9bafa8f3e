"""A `RawModel` to the IR: what each ONNX operator means, and ALL that is refused in one exception.

A refused node's outputs are of unknown shape; nodes that read them are looked at as far as their
name and attributes go. Everything whose value is known by now (int constants, identities) is gone
from the graph this yields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from compiler.errors import DynamicShape, MalformedModel, Refusal, UnsupportedOp
from compiler.frontend.dims import checked_dims
from compiler.frontend.operators import TRANSLATORS
from compiler.frontend.raw import Dim, RawModel, RawNode
from compiler.frontend.scope import Refused, Scope, UnknownShape
from compiler.ir import Array, Graph, Node, Shape, ShapeError, infer

MAX_ELEMENTS = 1 << 24  # of one tensor that is computed with; no target has memory for it


@dataclass
class _Work:
    """What has been translated so far."""

    scope: Scope
    nodes: list[Node] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


def translate(raw: RawModel, dims: Mapping[str, int] | None = None) -> Graph:
    """Raises UnsupportedOp with every refusal, DynamicShape, MalformedModel.

    dims  numbers for symbolic dimensions, by symbol. An unnamed or symbolic batch dimension is 1.
    """
    dims = checked_dims(raw, dims)
    shapes = {
        name: _static(name, shape, _batch_axis(raw, name), dims)
        for name, shape in raw.inputs.items()
    }
    floats: dict[str, Array] = {}
    scope = Scope(raw.opset, dict(shapes), floats)
    for name, array in raw.constants.items():
        scope.define(name, array)
    work = _Work(scope)
    for node in raw.nodes:
        _translate_node(raw, node, work)
    if work.refusals:
        raise UnsupportedOp(work.refusals)
    _check_outputs(raw, scope, given=bool(dims))
    return _graph(raw, work, tuple(shapes))


def _translate_node(raw: RawModel, node: RawNode, work: _Work) -> None:
    scope = work.scope

    def refuse(reason: str) -> None:
        opset = raw.opsets.get(node.domain, 0)
        work.refusals.append(Refusal(node.label, opset, node.name, reason))

    translator = None if node.domain else TRANSLATORS.get(node.op)
    if translator is None:
        refuse("no such operator here")
        return
    try:
        for made in translator(node, scope):
            shapes = infer(made, scope.shapes)
            _check_sizes(shapes)
            scope.shapes |= shapes
            work.nodes.append(made)
    except UnknownShape:
        pass  # it reads what was refused before
    except (Refused, ShapeError) as error:
        refuse(str(error))


def _check_sizes(shapes: Mapping[str, Shape]) -> None:
    for shape in shapes.values():
        if prod(shape) > MAX_ELEMENTS:
            raise Refused(f"its result of shape {list(shape)} is too large for any target")


def _graph(raw: RawModel, work: _Work, inputs: tuple[str, ...]) -> Graph:
    scope = work.scope
    # an output that is an alias (Identity) of another value needs a node of its own
    for name in raw.outputs:
        source = scope.resolve(name)
        if source != name or name in scope.floats or name in inputs:
            shape = scope.shapes[source]
            if source == name:
                raise MalformedModel(f"output {name!r} is computed by no node")
            work.nodes.append(
                Node("reshape", f"{name}.alias", (source,), (name,), {"shape": shape})
            )
    shapes = {name: scope.shapes[name] for name in inputs}
    empty = Graph(raw.name, raw.opset, inputs, raw.outputs, shapes, {}, ())
    used = {name for node in work.nodes for name in node.inputs}
    constants = {name: array for name, array in scope.floats.items() if name in used}
    return empty.with_nodes(tuple(work.nodes), constants)


def _check_outputs(raw: RawModel, scope: Scope, given: bool) -> None:
    """Whoever reads the file relies on the shapes that it declares. Symbols match every number;
    with dimensions `given` by the caller, the file's own numbers may be of another size."""
    for name in raw.outputs:
        if scope.resolve(name) in scope.integers:
            raise MalformedModel(f"output {name!r} is an integer constant; outputs must be float")
        made = scope.shapes[scope.resolve(name)]
        if 0 in made:
            raise MalformedModel(f"output {name!r} has shape {list(made)}: an empty tensor")
        said = raw.declared.get(name, made)
        wrong = any(
            isinstance(dim, int) and dim != size for dim, size in zip(said, made, strict=False)
        )
        if len(said) != len(made) or (wrong and not given):
            raise MalformedModel(
                f"output {name!r} is declared with shape {list(said)}, but the model makes "
                f"{list(made)}: correct the declaration"
            )


def _batch_axis(raw: RawModel, name: str) -> int:
    """Which axis of an input is the batch: 1 if a recurrent layer reads it as it is, else 0."""
    for node in raw.nodes:
        if node.op in ("RNN", "GRU", "LSTM") and name in node.inputs:
            return 1
    return 0


def _static(name: str, shape: tuple[Dim, ...], batch_axis: int, dims: Mapping[str, int]) -> Shape:
    known: list[int] = []
    unknown: list[str] = []
    symbols: list[str] = []
    for axis, dim in enumerate(shape):
        if isinstance(dim, str) and dim in dims:
            dim = dims[dim]
        if isinstance(dim, int):
            if dim < 1:
                raise MalformedModel(f"input {name!r} has shape {list(shape)}: an empty tensor")
            known.append(dim)
        elif axis == batch_axis:
            known.append(1)
        else:
            unknown.append(f"axis {axis} ({dim or 'unnamed'})")
            symbols += [dim] if dim else []
    if unknown:
        flags = " ".join(f"--dim {symbol}=8" for symbol in symbols)
        mapping = ", ".join(f'"{symbol}": 8' for symbol in symbols)
        advice = f"give numbers, e.g. {flags}, or dims={{{mapping}}}"
        raise DynamicShape(
            f"input {name!r} of shape {list(shape)} has no number for {', '.join(unknown)}: only a "
            f"batch dimension is taken as 1; {advice if symbols else 'export it with numbers'}"
        )
    if prod(known) > MAX_ELEMENTS:
        raise MalformedModel(f"input {name!r} has shape {known}: too large for any target")
    return tuple(known)
