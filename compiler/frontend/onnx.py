"""ONNX bytes to a `RawModel`: with external.py the only files that import onnx and face strangers.

Everything about the container is checked here: size, structure, names, types, stored data. What
the operators mean is translate.py's matter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper

from compiler.errors import BadWeights, MalformedModel
from compiler.frontend.external import inline_external_data
from compiler.frontend.raw import Dim, RawAttr, RawModel, RawNode, is_float

MAX_MODEL_BYTES = 256 * 2**20  # far above any model that fits on chip, far below memory
MAX_NODES = 4096  # each becomes a few instructions; instruction memories are smaller
MAX_ELEMENTS = 2**26  # of one tensor: 256 MiB of float32
OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)  # below 7 Add and Gemm broadcast otherwise

_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}
_CONSTANTS = _FLOATS | {onnx.TensorProto.INT32, onnx.TensorProto.INT64}


def read_model(source: bytes | Path) -> RawModel:
    """Parse and check the container. Raises MalformedModel, BadWeights."""
    proto = _parse(_load(source))
    folder = None if isinstance(source, bytes) else source.parent
    inline_external_data(proto, folder, MAX_MODEL_BYTES)
    graph = proto.graph
    opsets = _opsets(proto)
    if len(graph.node) > MAX_NODES:
        raise MalformedModel(f"the model has {len(graph.node)} nodes; at most {MAX_NODES} are read")
    if proto.functions:
        raise MalformedModel(
            "the model defines functions of its own; inline them first (onnx.inliner)"
        )
    if graph.sparse_initializer:
        raise MalformedModel("the model has sparse initializers; store them dense")
    constants = {tensor.name: _tensor(tensor, tensor.name) for tensor in graph.initializer}
    if len(constants) != len(graph.initializer):
        raise MalformedModel("two initializers have the same name")
    _check_finite(constants)
    inputs = {value.name: _dims(value) for value in graph.input if value.name not in constants}
    nodes = tuple(_node(node, index) for index, node in enumerate(graph.node))
    for node in nodes:
        _check_arity(node, opsets[""])
    outputs = tuple(value.name for value in graph.output)
    if not outputs:
        raise MalformedModel("the model has no outputs: not an ONNX model, or an empty one")
    if len(set(outputs)) != len(outputs):
        raise MalformedModel("two outputs of the model have the same name")
    _check_names(inputs, constants, nodes, outputs)
    declared = {value.name: _shape(value) for value in graph.output if _has_shape(value)}
    return RawModel(graph.name or "model", opsets, inputs, outputs, constants, nodes, declared)


def _load(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        size = len(source)
    else:
        try:
            size = source.stat().st_size
        except OSError as error:
            raise MalformedModel(f"cannot read the model {source}: {error.strerror}") from error
    if size > MAX_MODEL_BYTES:
        raise MalformedModel(
            f"the model has {size} bytes; at most {MAX_MODEL_BYTES} are read (nothing near that "
            "size fits on chip)"
        )
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise MalformedModel(f"cannot read the model {source}: {error.strerror}") from error


def _parse(data: bytes) -> Any:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RecursionError, ValueError) as error:
        raise MalformedModel(f"not an ONNX model: {error}") from error
    if not proto.ir_version or not proto.HasField("graph"):
        raise MalformedModel("not an ONNX model: it names no IR version or has no graph")
    return proto


def _opsets(proto: Any) -> dict[str, int]:
    opsets = {
        "" if entry.domain == "ai.onnx" else entry.domain: entry.version
        for entry in proto.opset_import
    }
    version = opsets.setdefault("", 0)
    if version not in OPSETS:
        raise MalformedModel(
            f"the model uses opset {version}; {OPSETS.start} to {OPSETS.stop - 1} are read: "
            "convert it (onnx.version_converter)"
        )
    return opsets


def _tensor(tensor: Any, name: str) -> NDArray[Any]:
    """A stored tensor as float32 or int64."""
    if tensor.data_type not in _CONSTANTS:
        kind = _type_name(tensor.data_type)
        raise MalformedModel(f"constant {name!r} is {kind}; float, float16, double, int32, int64")
    elements = 1
    for dim in tensor.dims:
        if dim < 0:
            raise MalformedModel(f"constant {name!r} has shape {list(tensor.dims)}")
        elements *= dim
    if elements > MAX_ELEMENTS:
        raise MalformedModel(f"constant {name!r} has {elements} elements, more than {MAX_ELEMENTS}")
    try:
        array: NDArray[Any] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise MalformedModel(f"constant {name!r} is damaged: {error}") from error
    if array.size != elements:
        raise MalformedModel(f"constant {name!r} holds {array.size} elements, not {elements}")
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, refused below
        return array.astype(np.float32) if is_float(array) else array.astype(np.int64)


def _check_finite(constants: dict[str, NDArray[Any]]) -> None:
    bad = [
        f"{name!r} ({int((~np.isfinite(array)).sum())} of {array.size})"
        for name, array in constants.items()
        if is_float(array) and not np.isfinite(array).all()
    ]
    if bad:
        raise BadWeights(
            f"NaN or infinite weights in {', '.join(bad)}: the training diverged, or the file is "
            "damaged"
        )


def _dims(value: Any) -> tuple[Dim, ...]:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type != onnx.TensorProto.FLOAT:
        found = _type_name(kind.elem_type) if value.type.HasField("tensor_type") else "no tensor"
        raise MalformedModel(f"input {value.name!r} is {found}; inputs must be tensors of float32")
    if not _has_shape(value):
        raise MalformedModel(f"input {value.name!r} declares no shape")
    return _shape(value)


def _has_shape(value: Any) -> bool:
    return bool(value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"))


def _shape(value: Any) -> tuple[Dim, ...]:
    dims: list[Dim] = []
    for dim in value.type.tensor_type.shape.dim:
        which = dim.WhichOneof("value")
        dims.append(dim.dim_value if which == "dim_value" else dim.dim_param or None)
    return tuple(None if dim == -1 else dim for dim in dims)  # some exporters write -1


def _node(node: Any, index: int) -> RawNode:
    name = node.name or f"{node.op_type}_{index}"
    domain = "" if node.domain == "ai.onnx" else node.domain
    if not node.op_type or not any(node.output):
        raise MalformedModel(f"node {name!r} has no operator or no output")
    attrs = {attr.name: _attr(attr, name) for attr in node.attribute}
    return RawNode(node.op_type, domain, name, tuple(node.input), tuple(node.output), attrs)


def _check_arity(node: RawNode, opset: int) -> None:
    """That an operator has no more inputs and outputs than ONNX gives it: the surplus would be
    ignored. What is missing is the translators' matter, as are operators that ONNX lacks."""
    if node.domain or not onnx.defs.has(node.op):
        return
    try:
        schema = onnx.defs.get_schema(node.op, opset, "")
    except onnx.defs.SchemaError:  # younger than the model's opset
        return
    for what, names, most in (
        ("inputs", node.inputs, schema.max_input),
        ("outputs", node.outputs, schema.max_output),
    ):
        if len(names) > most:
            raise MalformedModel(
                f"node {node.name!r} has {len(names)} {what}; {node.op} has at most {most}"
            )


def _attr(attr: Any, node: str) -> RawAttr:
    kinds = onnx.AttributeProto
    if attr.type == kinds.TENSOR:
        array = _tensor(attr.t, f"{node}.{attr.name}")
        _check_finite({f"{node}.{attr.name}": array})
        return array
    if attr.type == kinds.INT:
        return int(attr.i)
    if attr.type == kinds.FLOAT:
        return float(attr.f)
    try:
        if attr.type == kinds.STRING:
            return str(attr.s.decode())
        if attr.type == kinds.STRINGS:
            return tuple(item.decode() for item in attr.strings)
    except UnicodeDecodeError as error:
        raise MalformedModel(f"node {node!r}: attribute {attr.name!r}: {error}") from error
    if attr.type == kinds.INTS:
        return tuple(attr.ints)
    if attr.type == kinds.FLOATS:
        return tuple(attr.floats)
    return ()  # a graph or a list of them: only operators that are refused anyway have these


def _check_names(
    inputs: dict[str, tuple[Dim, ...]],
    constants: dict[str, NDArray[Any]],
    nodes: tuple[RawNode, ...],
    outputs: tuple[str, ...],
) -> None:
    known = set(inputs) | set(constants)
    for node in nodes:
        for name in node.inputs:
            if name and name not in known:
                raise MalformedModel(
                    f"node {node.name!r} reads {name!r}, which nothing before makes"
                )
        for name in node.outputs:
            if name in known:
                raise MalformedModel(f"node {node.name!r} makes {name!r}, which exists already")
            if name:
                known.add(name)
    for name in outputs:
        if name not in known:
            raise MalformedModel(f"output {name!r} is made by no node")


def _type_name(elem_type: int) -> str:
    try:
        return str(onnx.TensorProto.DataType.Name(elem_type)).lower()
    except ValueError:
        return f"of unknown type {elem_type}"
