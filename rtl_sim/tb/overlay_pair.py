"""Text of the harness in which captured copies of an overlay run beside the original, on one bus.

Copies as in `captured_pair`: `ref` (module <top>), kept, a, b. All see what the bus's masters and
memory drive (a frozen a and b see it inverted while `noise` is set); the copy that `current` names
(0 ref, 1 a, 2 b) answers. `clk` drives a and b, `clk_k` kept, `bus_clk` ref and everything on the
bus: while it stands still, nothing outside can tell that time passes. All three are inputs, since
a bench that waits for an edge made inside the simulation samples after it instead of before.
"""

from __future__ import annotations

from typing import Final

from rtl_sim.tb.captured_pair import ROW_BITS, Captured

# Ports of any overlay (docs/overlays.md), as (name, width).
_LITE: Final = "s_axi_control_"
_FULL: Final = "m_axi_gmem_"
INPUTS: Final = (
    *((f"{_LITE}{n}", 1) for n in ("awvalid", "wvalid", "bready", "arvalid", "rready")),
    *((f"{_LITE}{n}", 12) for n in ("awaddr", "araddr")),
    *((f"{_LITE}wdata", 32), (f"{_LITE}wstrb", 4)),
    *((f"{_FULL}{n}", 1) for n in ("awready", "wready", "bvalid", "arready", "rvalid", "rlast")),
    *((f"{_FULL}rdata", 64), (f"{_FULL}rresp", 2), (f"{_FULL}bresp", 2)),
)
OUTPUTS: Final = (
    *((f"{_LITE}{n}", 1) for n in ("awready", "wready", "bvalid", "arready", "rvalid")),
    *((f"{_LITE}rdata", 32), (f"{_LITE}rresp", 2), (f"{_LITE}bresp", 2)),
    *((f"{_FULL}{n}", 1) for n in ("awvalid", "wvalid", "bready", "arvalid", "rready", "wlast")),
    *((f"{_FULL}{n}", 64) for n in ("awaddr", "araddr", "wdata")),
    *((f"{_FULL}{n}", 8) for n in ("awlen", "arlen", "wstrb")),
    *((f"{_FULL}{n}", 3) for n in ("awsize", "arsize")),
    *((f"{_FULL}{n}", 2) for n in ("awburst", "arburst")),
    ("interrupt", 1),
)


def overlay_harness(top: str, first: Captured, second: Captured) -> str:
    total = sum(width for _, width in OUTPUTS)
    width = first.state_map.mem_width
    ports = [
        "input clk, input bus_clk, input clk_k",
        "input ap_rst_n, input noise, input [1:0] current",
        *(f"input {_span(w)}{n}" for n, w in INPUTS),
        *(f"output {_span(w)}{n}" for n, w in OUTPUTS),
        # The overlay uses no IDs; the bench's memory wants them.
        f"output [0:0] {_FULL}awid, output [0:0] {_FULL}arid",
        f"input [0:0] {_FULL}bid, input [0:0] {_FULL}rid",
        *(
            f"input run_{c}, input scan_{c}, input [{ROW_BITS - 1}:0] si_{c},"
            f" output [{ROW_BITS - 1}:0] so_{c}, input mre_{c}, input mwe_{c},"
            f" output [{width - 1}:0] mrd_{c}"
            for c in "kab"
        ),
        f"input [15:0] msel, input [31:0] maddr, input [{width - 1}:0] mwd",
        "output [2:0] differs",
    ]
    return "\n".join(
        [
            "module bench (",
            ",\n".join(f"  {port}" for port in ports),
            ");",
            f"  wire [{total - 1}:0] out_ref, out_k, out_a, out_b;",
            _instance(top, "ref", "bus_clk", None),
            _instance(first.module, "k", "clk_k", first),
            _instance(first.module, "a", "clk", first),
            _instance(second.module, "b", "clk", second),
            "  assign differs = {out_b != out_ref, out_a != out_ref, out_k != out_ref};",
            f"  assign {_outputs()} = current == 1 ? out_a : current == 2 ? out_b : out_ref;",
            f"  assign {_FULL}awid = 0;",
            f"  assign {_FULL}arid = 0;",
            "endmodule",
        ]
    )


def _outputs() -> str:
    return "{" + ", ".join(name for name, _ in OUTPUTS) + "}"


def _span(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def _instance(module: str, copy: str, clock: str, captured: Captured | None) -> str:
    noisy = copy in "ab"
    pins = [f".ap_clk({clock})", f".ap_rst_n(ap_rst_n{' ^ noise' if noisy else ''})"]
    pins += [f".{n}({n}{f' ^ {{{w}{{noise}}}}' if noisy else ''})" for n, w in INPUTS]
    at = 0
    for name, width in reversed(OUTPUTS):
        pins.append(f".{name}(out_{copy}[{at + width - 1}:{at}])")
        at += width
    if captured is not None:
        state = captured.state_map
        pins += [
            f".sp_run(run_{copy}), .sp_scan(scan_{copy}), .sp_si(si_{copy}[{state.lanes - 1}:0])",
            f".sp_so(so_{copy}[{state.lanes - 1}:0]), .sp_msel(msel), .sp_maddr(maddr)",
            f".sp_mre(mre_{copy}), .sp_mwe(mwe_{copy}), .sp_mwd(mwd), .sp_mrd(mrd_{copy})",
        ]
    return f"  {module} {copy}_copy (\n    " + ",\n    ".join(pins) + "\n  );"
