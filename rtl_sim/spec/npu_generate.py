"""Writes what derives from the NPU's spec: SystemVerilog package, tanh table, tables of the docs.

`python -m rtl_sim.spec.npu_generate` writes the files, `outputs()` says what they should be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Final

from rtl_sim.spec import npu

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = ROOT / "rtl_sim/rtl/npu/npu_pkg.sv"
TANH: Final = ROOT / "rtl_sim/rtl/npu/npu_tanh_rom.sv"
RECIPE: Final = ROOT / "rtl_sim/rtl/npu/overlay.json"
DOCS: Final = ROOT / "docs/npu.md"
BANNER: Final = (
    "// Generated from rtl_sim/spec by `python -m rtl_sim.spec.npu_generate`: do not edit.\n"
)
LOOKED_AT: Final = """
  // Whether anybody looks at a value. Hardware makes it all the same; a simulator need not.
  function automatic logic looked_at(input logic by_whom);
`ifdef SYNTHESIS
    looked_at = 1'b1;
`else
    looked_at = by_whom;
`endif
  endfunction"""


def _constants(prefix: str, members: Iterable[IntEnum], width: int) -> list[str]:
    return [
        f"  localparam [{width - 1}:0] {prefix}_{m.name} = {width}'d{m.value};" for m in members
    ]


def package() -> str:
    lines = [BANNER, "package npu_pkg;"]
    lines += _constants("OP", npu.Op, 8)
    lines += _constants("MEM", npu.Mem, 4)
    lines += _constants("SCALAR", npu.Scalar, 4)
    lines += _constants("ST", npu.Status, 8)
    lines += [f"  localparam SLOT_{slot.name} = {slot.value};" for slot in npu.Slot]
    lines.append(f"  localparam [7:0] ISA_VERSION = 8'd{npu.ISA_VERSION};")
    lines.append(f"  localparam [11:0] REG_COUNTERS = 12'h{npu.COUNTERS_BASE:03x};")
    args = {**npu.BUFFER_ARGS, **npu.SCALAR_ARGS}
    lines += [f"  localparam [11:0] REG_{k.upper()} = 12'h{v:03x};" for k, v in args.items()]
    lines.append(LOOKED_AT)
    lines.append("endpackage")
    return "\n".join(lines) + "\n"


def tanh_rom() -> str:
    table = npu.tanh_table()
    lines = [
        BANNER,
        "// Stateless: base and slope of one of the segments of tanh (docs/npu.md, Arithmetic).",
        "module npu_tanh_rom (",
        "  input  wire [6:0]  idx_i,",
        "  output reg  [16:0] base_o,",
        "  output reg  [11:0] slope_o",
        ");",
        "  always @* begin",
        "    case (idx_i)",
    ]
    for index, (base, slope) in enumerate(table):
        label = f"7'd{index}" if index + 1 < len(table) else "default"
        lines.append(f"      {label}: {{base_o, slope_o}} = {{17'd{base}, 12'd{slope}}};")
    lines += ["    endcase", "  end", "endmodule"]
    return "\n".join(lines) + "\n"


def recipe() -> str:
    """overlay.json, as hal/backends/fpga/recipe.py reads it."""
    buffers = [(name, "buffer", at, 8) for name, at in npu.BUFFER_ARGS.items()]
    scalars = [(name, "scalar", at, 4) for name, at in npu.SCALAR_ARGS.items()]
    fields = ("name", "kind", "offset", "size_bytes")
    args = [dict(zip(fields, arg, strict=True)) for arg in buffers + scalars]
    content = {
        "recipe_version": 1,
        "top": "npu",
        "sources": npu.SOURCES,
        "clock_mhz": 200,
        "lanes": 32,
        "kernels": [{"name": npu.KERNEL_NAME, "protocol": "ap_ctrl_hs", "args": args}],
        "counters": [
            {"name": stat.name.lower(), "offset": npu.COUNTERS_BASE + 4 * stat} for stat in npu.Stat
        ],
        "vectors": "rtl_sim.model.selftest:vectors",
        "overlays": {f"npu-{name}": {"params": npu.CONFIGS[name].params} for name in npu.OVERLAYS},
    }
    return json.dumps(content, indent=1) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    out += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(out)


def _member_comments(enum: str) -> dict[str, str]:
    """The comments beside an enum's members: they are the documentation."""
    text = Path(npu.__file__).read_text(encoding="utf-8")
    body = text.split(f"class {enum}(", 1)[1].split("\n\n\n", 1)[0]
    return dict(re.findall(r"^    (\w+) = \w+  # (.*)$", body, re.MULTILINE))


def tables() -> dict[str, str]:
    """The generated tables of docs/npu.md by name."""
    buffers = [(f"`{k}`", f"{v:#04x}", "buffer, 64 bits") for k, v in npu.BUFFER_ARGS.items()]
    scalars = [(f"`{k}`", f"{v:#04x}", "scalar, 32 bits") for k, v in npu.SCALAR_ARGS.items()]
    comments = ("Mem", "Scalar", "Status", "Stat")
    memory, scalar, status, stat = (_member_comments(e) for e in comments)
    configs = list(npu.CONFIGS.values())
    names = list(configs[0].params)
    return {
        "arguments": _table(("argument", "offset", "kind"), buffers + scalars),
        "opcodes": _table(
            ("opcode", "instruction"), [(f"{o.value:#04x}", f"`{o.name.lower()}`") for o in npu.Op]
        ),
        "memories": _table(
            ("id", "memory", ""), [(m.value, m.name, memory.get(m.name, "")) for m in npu.Mem]
        ),
        "scalars": _table(
            ("id", "register", ""), [(s.value, s.name, scalar[s.name]) for s in npu.Scalar]
        ),
        "status": _table(
            ("code", "status", ""), [(s.value, s.name, status.get(s.name, "")) for s in npu.Status]
        ),
        "stats": _table(("word", "name", ""), [(s.value, s.name, stat[s.name]) for s in npu.Stat]),
        "configurations": _table(
            ("parameter", *(f"`{c.name}`" for c in configs)),
            [(name, *(c.params[name] for c in configs)) for name in names],
        ),
    }


def docs(text: str) -> str:
    """`text` with every generated table replaced."""
    for name, table in tables().items():
        head, rest = text.split(f"<!-- generated: {name} -->\n", 1)
        tail = rest.split("<!-- end -->", 1)[1]
        text = f"{head}<!-- generated: {name} -->\n{table}\n<!-- end -->{tail}"
    return text


def outputs() -> dict[Path, str]:
    """Every generated file and the text it must have."""
    return {
        PACKAGE: package(),
        TANH: tanh_rom(),
        RECIPE: recipe(),
        DOCS: docs(DOCS.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    for path, content in outputs().items():
        path.write_text(content, encoding="utf-8")
