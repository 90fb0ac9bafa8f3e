"""Recurrent nets, perceptrons and products as ONNX models, compiled, timed by the cycle model."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from compiler import CompiledModel, compile_onnx
from rtl_sim.model.npu_cycles import walk
from rtl_sim.spec.npu import Mem, Stat

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
LAYERS = {"gemv": 1, "mlp": 3}


def model(kind: str, size: int, steps: int) -> bytes:
    """Of the right shapes; all weights are 0. A recurrent one reads every input and writes every
    state."""
    if kind in GATES:
        constants = {
            name: np.zeros((1, GATES[kind] * size, size), np.float32) for name in ("w", "r")
        }
        constants["b"] = np.zeros((1, 2 * GATES[kind] * size), np.float32)
        attributes: dict[str, Any] = {"linear_before_reset": 1} if kind == "gru" else {}
        nodes = [
            helper.make_node(
                kind.upper(), ["x", "w", "r", "b"], ["y"], hidden_size=size, **attributes
            )
        ]
        shapes = [steps, 1, size], [steps, 1, 1, size]
    else:
        constants, nodes, name = {}, [], "x"
        for layer in range(LAYERS[kind]):
            last = layer + 1 == LAYERS[kind]
            constants[f"w{layer}"] = np.zeros((size, size), np.float32)
            constants[f"b{layer}"] = np.zeros(size, np.float32)
            made = "y" if last else f"z{layer}"
            parts = [name, f"w{layer}", f"b{layer}"]
            nodes.append(helper.make_node("Gemm", parts, [made], transB=1))
            if not last:
                nodes.append(helper.make_node("Relu", [made], [f"a{layer}"]))
                name = f"a{layer}"
        shapes = [1, size], [1, size]
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        for name, shape in zip("xy", shapes, strict=True)
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, f"{kind}-{size}", *values, initializers)
    made_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made_model.ir_version = 8
    return bytes(made_model.SerializeToString())


def cycles(kind: str, target: str, size: int, steps: int) -> tuple[float, bool]:
    """Of a further step, or of a further inference without steps; whether all weights stay on the
    chip."""
    turns = (8, 16) if kind in GATES else (2, 6)
    taken = []
    for count in turns:
        if kind in GATES:
            compiled = compile_onnx(model(kind, size, count), f"npu:{target}")
        else:
            compiled = compile_onnx(model(kind, size, 1), f"npu:{target}", samples=count)
        taken.append(launch(compiled))
    each = (taken[1] - taken[0]) / (turns[1] - turns[0])
    return each * (steps if kind in GATES else 1), compiled.pinned


def launch(compiled: CompiledModel) -> int:
    """Cycles of a launch with a memory that answers at once, as that of the other tables."""
    sizes = {
        Mem.INPUT: compiled.samples * compiled.input_vectors,
        Mem.WEIGHTS: len(compiled.weights) // compiled.npu.vector_bytes,
        Mem.OUTPUT: compiled.samples * compiled.output_vectors,
    }
    return walk(compiled.npu, compiled.program, sizes).stats[Stat.CYCLES]
