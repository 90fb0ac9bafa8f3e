"""ONNX models to programs for the NPU overlay.

    compiled = compile_onnx(Path("model.onnx"), target="npu:sim")
    results = Emulator(compiled).run({"x": x})            # or runtime.Session on a device

Floors inside: frontend -> ir, passes -> targets -> artifact; runtime and emulator run artifacts.
"""

from __future__ import annotations

from compiler.artifact import CompiledModel
from compiler.driver import compile_onnx
from compiler.emulator import Emulator

__all__ = ["CompiledModel", "Emulator", "compile_onnx"]
