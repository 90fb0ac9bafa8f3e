"""Tensors that a model stores in files beside its own, as exporters do with large weights.

A model comes from strangers: only regular files inside the model's own folder are opened, links
out of it are followed to their refusal, and no more is read than the limit on a model's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from compiler.errors import MalformedModel


def inline_external_data(proto: Any, folder: Path | None, limit_bytes: int) -> None:
    """Put what lies in other files into the model. Raises MalformedModel."""
    total = 0
    for tensor in _tensors(proto.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL and not tensor.external_data:
            continue
        if folder is None:
            raise MalformedModel(
                f"constant {tensor.name!r} lies outside the file (external data), and bytes have "
                "no folder: give the model's path, or store it inline (onnx.save with "
                "save_as_external_data=False)"
            )
        data = _read(tensor, folder, limit_bytes - total)
        total += len(data)
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT
        tensor.raw_data = data


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def _read(tensor: Any, folder: Path, room_bytes: int) -> bytes:
    entries = {str(entry.key): str(entry.value) for entry in tensor.external_data}
    location = entries.get("location", "")

    def refuse(reason: str) -> MalformedModel:
        return MalformedModel(f"constant {tensor.name!r} lies in {location!r}: {reason}")

    root = folder.resolve()
    try:
        path = (root / location).resolve()
        if not location or Path(location).is_absolute() or not path.is_relative_to(root):
            raise refuse("external data must lie in the model's own folder")
        if not path.is_file():  # also: no pipe, which would never end
            raise refuse("there is no such file beside the model")
        size = path.stat().st_size
        offset = _number(entries.get("offset", "0"))
        length = _number(entries.get("length", str(max(0, size - offset))))
        if offset + length > size:
            raise refuse(f"{length} bytes from {offset} of a file of {size}")
        if length > room_bytes:
            raise refuse(f"{length} bytes, more than the {room_bytes} that are still read")
        with path.open("rb") as file:
            file.seek(offset)
            data: bytes = file.read(length)
            return data
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise refuse(str(error)) from error


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(f"{text!r} is not a count of bytes")
    return int(text)
