"""Compiled models as bytes: the same after a round trip, refused when anything is wrong."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler import CompiledModel, Emulator, compile_onnx
from compiler.errors import ArtifactError, CompileError, ProgramFault
from rtl_sim.spec.npu import Instr, Op

HEAD = struct.Struct("<8sIQQQ")


@pytest.fixture(scope="module")
def compiled(models):
    return compile_onnx(models.mlp(20, 16, 5), "npu:nano")


def rebuilt(data: bytes, version: int | None = None, **changes: object) -> bytes:
    """The artifact with header fields changed and a digest that matches."""
    magic, known, size, *others = HEAD.unpack_from(data)
    header = json.loads(data[HEAD.size : HEAD.size + size]) | changes
    encoded = json.dumps({k: v for k, v in header.items() if v is not None}).encode()
    head = HEAD.pack(magic, known if version is None else version, len(encoded), *others)
    body = head + encoded + data[HEAD.size + size : -32]
    return body + hashlib.blake2b(body, digest_size=32).digest()


def test_a_compiled_model_survives_a_round_trip(models, compiled):
    again = CompiledModel.from_bytes(compiled.to_bytes())
    assert again == compiled
    x = {"x": models.weights(1, 1, 20)}
    np.testing.assert_array_equal(Emulator(again).run(x)["y"], Emulator(compiled).run(x)["y"])


def test_host_operators_with_attributes_survive_a_round_trip(models):
    nodes = [
        models.node("Relu", ["x"], ["a"]),
        models.node("Transpose", ["a"], ["t"], perm=[1, 0]),
        models.node("Reshape", ["t", "s"], ["r"]),
        models.node("Softmax", ["r"], ["y"], axis=0),
    ]
    shape = {"s": np.array([3, 4], np.int64)}
    model = models.build(nodes, {"x": [3, 4]}, {"y": [3, 4]}, shape)
    again = CompiledModel.from_bytes(compile_onnx(model).to_bytes())
    x = {"x": models.weights(1, 3, 4)}
    expected = models.expected(model, x)["y"]
    assert again.result_shapes == {"y": (3, 4)}
    np.testing.assert_allclose(Emulator(again).run(x)["y"], expected, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_is_noticed(compiled, data):
    raw = bytearray(compiled.to_bytes())
    position = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[position // 8] ^= 1 << position % 8
    with pytest.raises(ArtifactError):
        CompiledModel.from_bytes(bytes(raw))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_truncation_is_noticed(compiled, data):
    raw = compiled.to_bytes()
    with pytest.raises(ArtifactError):
        CompiledModel.from_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])


def test_bytes_behind_the_end_are_noticed(compiled):
    with pytest.raises(ArtifactError, match="lengths"):
        CompiledModel.from_bytes(compiled.to_bytes() + b"\0")


def test_another_format_version_is_refused_by_name(compiled):
    with pytest.raises(ArtifactError, match="format 99"):
        CompiledModel.from_bytes(rebuilt(compiled.to_bytes(), version=99))


def test_another_instruction_set_is_refused_by_name(compiled):
    with pytest.raises(ArtifactError, match="instruction set"):
        CompiledModel.from_bytes(rebuilt(compiled.to_bytes(), isa=99))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 7},
        {"samples": 0},
        {"samples": -1},
        {"samples": True},
        {"config": "none"},
        {"fed": [{"name": "x", "shape": [1, 20], "offset": 0, "segment": 0}]},
        {"fed": [{"name": "x", "shape": [1, 20], "offset": 9, "segment": 20}]},
        {"inputs": [{"name": "x"}]},
        {"inputs": None},
        {"inputs": [{"name": "x", "shape": [1, 21]}]},
        {"before": [{"op": "exec", "name": "n", "inputs": ["x"], "outputs": ["t"], "attrs": {}}]},
        {"results": "y", "host": 5},
        {"results": ["absent"]},
        {"host": [{"op": "softmax", "name": "", "inputs": ["y"], "outputs": ["p"], "attrs": {}}]},
        {"surprise": 1},
        {"host": [{"op": "exec", "name": "n", "inputs": [], "outputs": [], "attrs": {}}]},
    ],
    ids=str,
)
def test_a_forged_header_is_refused(compiled, changes):
    with pytest.raises(ArtifactError):
        CompiledModel.from_bytes(rebuilt(compiled.to_bytes(), **changes))


def test_a_model_without_a_build_of_its_overlay_has_no_image(compiled):
    with pytest.raises(CompileError, match="npu-nano"):
        _ = compiled.image
    image = compiled.with_overlay("ab" * 32).image
    assert (image.format, image.payload) == ("overlay", b"ab" * 32)


def test_a_program_that_the_npu_refuses_is_an_error_and_no_result(models, compiled):
    broken = replace(compiled, program=Instr(Op.END_LOOP).encode().to_bytes(8, "little"))
    with pytest.raises(ProgramFault, match="instruction 0 with LOOP"):
        Emulator(broken).run({"x": models.weights(1, 1, 20)})
