"""What a bench can see of a top besides its ports' bits: written as JSON to HALTERE_PROBE.

constants: parameters of the top, as Verilog text; ranges: [left, right] of its vectors;
precision: the power of ten of a simulation step.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb import simulator
from cocotb.handle import IntegerObject, LogicArrayObject, PackedObject, StringObject


@cocotb.test()  # type: ignore[untyped-decorator]
async def probe(dut: Any) -> None:
    constants: dict[str, str] = {}
    ranges: dict[str, tuple[int, int]] = {}
    for handle in dut:
        if isinstance(handle, LogicArrayObject | PackedObject):
            if handle.is_const:
                bits = str(handle.value)
                constants[handle._name] = (
                    f"[{len(bits) - 1}:0] {handle._name} = {len(bits)}'b{bits}"
                )
            else:
                ranges[handle._name] = (handle.range.left, handle.range.right)
        elif isinstance(handle, IntegerObject) and handle.is_const:
            constants[handle._name] = f"integer {handle._name} = {int(handle.value)}"
        elif isinstance(handle, StringObject) and handle.is_const:
            text = json.dumps(handle.value.decode())
            constants[handle._name] = f"{handle._name} = {text}"
    found = {
        "constants": constants, "ranges": ranges, "precision": simulator.get_precision(),
    }  # fmt: skip
    Path(os.environ["HALTERE_PROBE"]).write_text(json.dumps(found), encoding="utf-8")
