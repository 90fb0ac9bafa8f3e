"""A compiled model as a value, and as bytes: versioned, digested, no pickle.

File: magic, format version (u32), lengths of the three parts (3 x u64), then the parts: a JSON
header, the program, the weights; at the end the BLAKE2b-256 of all before. `from_bytes` trusts
nothing: a digest keeps accidents out, every field of the header is checked for its type and
range, and the NPU itself checks every address of a program.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

from compiler.errors import ArtifactError, CompileError
from compiler.ir import Attr, Node, Shape, infer
from compiler.passes.split_host import HOST_OPS
from hal.types import ProgramImage
from rtl_sim.spec.npu import INSTRUCTION_BYTES, ISA_VERSION, Config, named_config

MAGIC = b"HALTNPU\0"
FORMAT_VERSION = 2
MAX_PART_BYTES = 2**30  # a length beyond it is damage, not a model
_HEAD = struct.Struct("<8sIQQQ")
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """An input of the model: a float32 tensor."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What the device program reads or writes: a float32 tensor in native vectors."""

    name: str
    shape: tuple[int, ...]
    offset: int  # first native vector within one sample of the buffer
    segment: int  # elements between paddings, see targets/npu/layout.py


@dataclass(frozen=True, slots=True)
class Layer:
    """Instructions `first` to `end` (not included) of the program: a layer, with the element-wise
    operators that ride on it."""

    name: str
    op: str  # of the IR; "load": an input is copied on chip, "rest": of a layer that was cut
    output: str  # the value it ends with
    first: int
    end: int
    macs: int  # of one sample, padding not counted
    steps: int  # one after another: of a recurrent layer, else 1


@dataclass(frozen=True)
class CompiledModel:
    name: str
    target: str
    config: str  # of the NPU
    overlay: str  # name of the overlay that carries that NPU
    overlay_digest: str  # which build of it, or "" while it is left open
    samples: int  # that one launch computes
    inputs: tuple[ValueSpec, ...]  # of the model
    before: tuple[Node, ...]  # what the host computes before the device, in order
    fed: tuple[TensorSpec, ...]  # what the device reads
    outputs: tuple[TensorSpec, ...]  # of the device
    input_vectors: int  # native vectors of one sample
    output_vectors: int
    host: tuple[Node, ...]  # what the host computes after the device, in order
    results: tuple[str, ...]  # names of the model's outputs
    pinned: bool
    macs: int
    used: dict[str, tuple[int, int]]
    layers: tuple[Layer, ...]
    program: bytes = field(repr=False)
    weights: bytes = field(repr=False)

    @property
    def npu(self) -> Config:
        config = named_config(self.config)
        assert config is not None  # by whoever made this
        return config

    @property
    def instructions(self) -> int:
        return len(self.program) // INSTRUCTION_BYTES

    @property
    def result_shapes(self) -> dict[str, Shape]:
        """Of the model's outputs, after the host's part."""
        shapes = self._shapes
        return {name: shapes[name] for name in self.results}

    @property
    def _shapes(self) -> dict[str, Shape]:
        """Of every value that the host sees."""
        shapes: dict[str, Shape] = {spec.name: spec.shape for spec in self.inputs}
        for node in self.before:
            shapes |= infer(node, shapes)
        shapes |= {spec.name: spec.shape for spec in self.outputs}
        for node in self.host:
            shapes |= infer(node, shapes)
        return shapes

    @property
    def image(self) -> ProgramImage:
        """What a context loads. Raises CompileError while the overlay's build is left open."""
        if not self.overlay_digest:
            raise CompileError(
                f"{self.name}: no build of overlay {self.overlay!r} was named; bind one with "
                "with_overlay(digest)"
            )
        return ProgramImage("overlay", self.overlay_digest.encode("ascii"))

    @property
    def golden_image(self) -> ProgramImage:
        """What a context loads where the overlay's golden model computes; it needs no build."""
        return ProgramImage("golden", self.overlay.encode("ascii"))

    def with_overlay(self, digest: str) -> CompiledModel:
        """This model, to run on the build of its overlay that has this digest."""
        return replace(self, overlay_digest=digest)

    def to_bytes(self) -> bytes:
        header = asdict(replace(self, program=b"", weights=b""))
        del header["program"], header["weights"]
        header["isa"] = ISA_VERSION
        encoded = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        parts = (encoded, self.program, self.weights)
        body = _HEAD.pack(MAGIC, FORMAT_VERSION, *map(len, parts)) + b"".join(parts)
        return body + _digest(body)

    @property
    def digest(self) -> str:
        """Names this compiled model by content."""
        return self.to_bytes()[-_DIGEST_BYTES:].hex()

    @classmethod
    def from_bytes(cls, data: bytes) -> CompiledModel:
        """Raises ArtifactError."""
        header, program, weights = _parts(data)
        try:
            fields = json.loads(header)
            if fields.pop("isa") != ISA_VERSION:
                raise ArtifactError(
                    f"compiled for another instruction set than version {ISA_VERSION}: compile anew"
                )
            model = _model(fields, program, weights)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArtifactError(f"the compiled model's header is damaged: {error!r}") from error
        return model


def is_image(model: bytes | Path) -> bool:
    """Whether it is a compiled model, by its first bytes; a file that cannot be read is none."""
    if isinstance(model, bytes):
        return model.startswith(MAGIC)
    try:
        with model.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()


def _parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    if len(data) < _HEAD.size + _DIGEST_BYTES or not data.startswith(MAGIC):
        raise ArtifactError(f"{len(data)} bytes that are no compiled model, or cut off")
    _, version, *lengths = _HEAD.unpack_from(data)
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"compiled model of format {version}; this haltere reads {FORMAT_VERSION}: compile anew"
        )
    if max(lengths) > MAX_PART_BYTES or _HEAD.size + sum(lengths) + _DIGEST_BYTES != len(data):
        raise ArtifactError(f"the compiled model has {len(data)} bytes and claims other lengths")
    if _digest(data[:-_DIGEST_BYTES]) != data[-_DIGEST_BYTES:]:
        raise ArtifactError("the compiled model's digest does not match: it is damaged")
    parts = []
    start = _HEAD.size
    for length in lengths:
        parts.append(data[start : start + length])
        start += length
    return parts[0], parts[1], parts[2]


def _model(fields: dict[str, Any], program: bytes, weights: bytes) -> CompiledModel:
    model = CompiledModel(
        inputs=tuple(_value(each) for each in fields.pop("inputs")),
        before=tuple(_node(each) for each in fields.pop("before")),
        fed=tuple(_spec(each) for each in fields.pop("fed")),
        outputs=tuple(_spec(each) for each in fields.pop("outputs")),
        host=tuple(_node(each) for each in fields.pop("host")),
        results=tuple(_text(each) for each in fields.pop("results")),
        layers=tuple(_layer(each) for each in fields.pop("layers")),
        used={_text(key): (_count(a), _count(b)) for key, (a, b) in fields.pop("used").items()},
        pinned=bool(fields.pop("pinned")),
        samples=_count(fields.pop("samples")),
        input_vectors=_count(fields.pop("input_vectors")),
        output_vectors=_count(fields.pop("output_vectors")),
        macs=_count(fields.pop("macs")),
        name=_text(fields.pop("name")),
        target=_text(fields.pop("target")),
        config=_text(fields.pop("config")),
        overlay=_text(fields.pop("overlay")),
        overlay_digest=_text(fields.pop("overlay_digest")),
        program=program,
        weights=weights,
    )
    if fields:
        raise ValueError(f"unknown fields {sorted(fields)}")
    if named_config(model.config) is None or not model.samples:
        raise ValueError(f"configuration {model.config!r}, {model.samples} samples")
    for specs, vectors in (
        (model.fed, model.input_vectors),
        (model.outputs, model.output_vectors),
    ):
        for spec in specs:
            if not spec.segment or prod(spec.shape) % spec.segment:
                raise ValueError(f"{spec.name}: segment {spec.segment} of shape {spec.shape}")
            if spec.offset + spec_vectors(spec, model.npu.n) > vectors:
                raise ValueError(f"{spec.name} lies beyond its buffer")
    shapes = model._shapes  # the host's part must fit together
    for spec in model.fed:
        if shapes[spec.name] != spec.shape:
            raise ValueError(f"{spec.name} is {shapes[spec.name]}, the device reads {spec.shape}")
    _ = model.result_shapes
    return model


def spec_vectors(spec: TensorSpec, n: int) -> int:
    """Native vectors a tensor takes."""
    return prod(spec.shape) // spec.segment * -(-spec.segment // n)


def _value(each: Any) -> ValueSpec:
    return ValueSpec(_text(each["name"]), tuple(_count(dim) for dim in each["shape"]))


def _layer(each: Any) -> Layer:
    name, op, output = (_text(each[key]) for key in ("name", "op", "output"))
    first, end, macs, steps = (_count(each[key]) for key in ("first", "end", "macs", "steps"))
    if not steps or not first <= end:
        raise ValueError(f"layer {name!r} has {steps} steps, instructions {first} to {end}")
    return Layer(name, op, output, first, end, macs, steps)


def _spec(each: Any) -> TensorSpec:
    value = _value(each)
    return TensorSpec(value.name, value.shape, _count(each["offset"]), _count(each["segment"]))


def _node(each: Any) -> Node:
    attrs: dict[str, Attr] = {
        _text(key): tuple(map(_count, value)) if isinstance(value, list) else _count(value)
        for key, value in each["attrs"].items()
    }
    if each["op"] not in HOST_OPS:
        raise ValueError(f"the host runs no {each['op']!r}")
    inputs, outputs = (tuple(map(_text, each[key])) for key in ("inputs", "outputs"))
    return Node(each["op"], _text(each["name"]), inputs, outputs, attrs)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value
