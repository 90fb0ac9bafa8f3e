"""Open Inference Protocol v2: requests and responses as bytes, JSON and binary extension.

Sans I/O: bytes in, tensors out, and back. It knows no HTTP framework and no model. A binary
request is JSON of `Inference-Header-Content-Length` bytes followed by the raw tensors in input
order; clients send neither Content-Type nor Accept, so only that header counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import orjson

from service.errors import BadRequest

DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
MAX_DIMENSIONS = 16  # far above any model's; keeps a hostile shape cheap
MAX_SIZE = 2**31  # of one dimension, likewise
MAX_TIMEOUT_US = 10**12  # eleven days


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    outputs: list[_Output] = []
    id: str = ""
    parameters: dict[str, Any] = {}


@dataclass(frozen=True)
class InferRequest:
    """inputs: name -> array; outputs: names asked for (empty: all); binary: those to send raw."""

    inputs: dict[str, np.ndarray[Any, Any]]
    outputs: tuple[str, ...] = ()
    binary: frozenset[str] = frozenset()
    all_binary: bool = False
    id: str = ""
    timeout_us: int | None = None


_decoder = msgspec.json.Decoder(_Request)


def parse_request(body: bytes, header_length: int | None) -> InferRequest:
    """Raises BadRequest, naming the tensor and what does not fit."""
    if not body:
        raise BadRequest('the body is empty; an inference request is {"inputs": [...]}')
    json_length = len(body) if header_length is None else header_length
    if not 0 < json_length <= len(body):
        raise BadRequest(
            f"Inference-Header-Content-Length is {json_length}, the body has {len(body)} bytes"
        )
    try:
        request = _decoder.decode(body[:json_length])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the request is not an inference request: {error}") from error
    raw = memoryview(body)[json_length:]
    inputs: dict[str, np.ndarray[Any, Any]] = {}
    for tensor in request.inputs:
        if tensor.name in inputs:
            raise BadRequest(f"input {tensor.name!r} is given twice")
        inputs[tensor.name], raw = _tensor(tensor, raw)
    if len(raw):
        raise BadRequest(f"{len(raw)} bytes of binary data follow the last input")
    timeout = request.parameters.get("timeout")
    if timeout is not None and (type(timeout) is not int or not 0 <= timeout <= MAX_TIMEOUT_US):
        raise BadRequest(f"parameters.timeout must be microseconds, 0 to {MAX_TIMEOUT_US}")
    names = [output.name for output in request.outputs]
    if len(set(names)) != len(names):
        raise BadRequest("an output is asked for twice")
    return InferRequest(
        inputs,
        tuple(names),
        frozenset(o.name for o in request.outputs if o.parameters.get("binary_data")),
        bool(request.parameters.get("binary_data_output")),
        request.id,
        timeout or None,
    )


def _tensor(tensor: _Input, raw: memoryview) -> tuple[np.ndarray[Any, Any], memoryview]:
    dtype = DTYPES.get(tensor.datatype)
    if dtype is None:
        raise BadRequest(
            f"input {tensor.name!r} has datatype {tensor.datatype!r}; known are {', '.join(DTYPES)}"
        )
    if len(tensor.shape) > MAX_DIMENSIONS or not all(0 <= s < MAX_SIZE for s in tensor.shape):
        raise BadRequest(f"input {tensor.name!r} has shape {tensor.shape}")
    count = math.prod(tensor.shape)
    size = tensor.parameters.get("binary_data_size")
    if size is not None:
        if type(size) is not int or size != count * dtype.itemsize or size > len(raw):
            raise BadRequest(
                f"input {tensor.name!r}: binary_data_size is {size}, {count} x {tensor.datatype} "
                f"need {count * dtype.itemsize}, and {len(raw)} bytes are left"
            )
        return np.frombuffer(raw[:size], dtype).reshape(tensor.shape), raw[size:]
    if not bytes(tensor.data):
        raise BadRequest(f"input {tensor.name!r} has neither data nor binary_data_size")
    try:
        array = np.asarray(orjson.loads(bytes(tensor.data)))
        if array.dtype.kind not in "bifu" or array.size != count:
            raise ValueError(f"{array.size} values of kind {array.dtype.kind!r}")
        if dtype.kind in "iu" and array.dtype.kind == "f":
            raise ValueError("fractions for an integer tensor")
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            return array.astype(dtype, casting="unsafe").reshape(tensor.shape), raw
    except (orjson.JSONDecodeError, ValueError, OverflowError, RecursionError) as error:
        raise BadRequest(
            f"input {tensor.name!r}: data does not make {tensor.shape} of {tensor.datatype}: "
            f"{error}"
        ) from error


def build_response(
    model: str,
    version: str,
    request: InferRequest,
    outputs: Mapping[str, np.ndarray[Any, Any]],
    parameters: Mapping[str, int] | None = None,
) -> tuple[bytes, int | None]:
    """Body, and the length of its JSON part when raw tensors follow. Raises BadRequest for an
    output that the model lacks, and for non-finite values, which JSON cannot carry."""
    names: Sequence[str] = request.outputs or tuple(outputs)
    described: list[dict[str, Any]] = []
    raws: list[bytes] = []
    for name in names:
        if name not in outputs:
            raise BadRequest(f"output {name!r} is unknown; {model} gives {', '.join(outputs)}")
        array = np.ascontiguousarray(outputs[name])
        entry: dict[str, Any] = {
            "name": name,
            "datatype": datatype_of(array.dtype),
            "shape": list(array.shape),
        }
        if request.all_binary or name in request.binary:
            raws.append(array.tobytes())
            entry["parameters"] = {"binary_data_size": len(raws[-1])}
        elif array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadRequest(f"output {name!r} is not finite: ask for it with binary_data")
        else:
            entry["data"] = array.ravel()
        described.append(entry)
    head: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request.id:
        head["id"] = request.id
    if parameters:
        head["parameters"] = parameters
    text = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    return (text + b"".join(raws), len(text)) if raws else (text, None)


def datatype_of(dtype: np.dtype[Any]) -> str:
    return _NAMES[np.dtype(dtype)]
