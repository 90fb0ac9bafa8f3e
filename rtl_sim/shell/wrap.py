"""`wrap`: a captured overlay in, the sources of a shell around it out.

The boundary is captured with the overlay's own options, so that both state ports have one width;
the generated top joins them to one port and ties it to the controller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rtl_sim.capture import CaptureResult, capture
from rtl_sim.capture.options import Options
from rtl_sim.capture.refuse import STATE_PORTS
from rtl_sim.design import Design
from rtl_sim.errors import DesignError
from rtl_sim.shell.geometry import Geometry
from rtl_sim.statemap import StateMap

RTL: Final = Path(__file__).resolve().parents[1] / "rtl" / "shell"
_CAPTURED: Final = ("fifo", "axi_isolator", "lite_back", "boundary")
_PLAIN: Final = (
    *("pkg", "fifo", "lite_front", "dma_write", "dma_read", "freezer", "sequencer"),
    *("registers", "controller"),
)
MAX_BURST_BEATS: Final = 256
NAMED: Final = 8  # ports in a message

# (name, width) of an overlay's ports (docs/overlays.md), requests and then answers of each bus.
LITE_REQUESTS: Final = (
    *(("awvalid", 1), ("awaddr", 12), ("wvalid", 1), ("wdata", 32), ("wstrb", 4), ("bready", 1)),
    *(("arvalid", 1), ("araddr", 12), ("rready", 1)),
)
LITE_ANSWERS: Final = (
    *(("awready", 1), ("wready", 1), ("bvalid", 1), ("bresp", 2), ("arready", 1)),
    *(("rvalid", 1), ("rdata", 32), ("rresp", 2)),
)
FULL_REQUESTS: Final = (
    *(("awvalid", 1), ("awaddr", 64), ("awlen", 8), ("awsize", 3), ("awburst", 2)),
    *(("wvalid", 1), ("wdata", 64), ("wstrb", 8), ("wlast", 1), ("bready", 1)),
    *(("arvalid", 1), ("araddr", 64), ("arlen", 8), ("arsize", 3), ("arburst", 2), ("rready", 1)),
)
FULL_ANSWERS: Final = (
    *(("awready", 1), ("wready", 1), ("bvalid", 1), ("bresp", 2), ("arready", 1)),
    *(("rvalid", 1), ("rdata", 64), ("rresp", 2), ("rlast", 1)),
)
_VALIDS: Final = ("awvalid", "wvalid", "arvalid")  # that the boundary drives outward
_LINK: Final = (
    *(("ask", 1), ("taken", 1), ("is_write", 1), ("addr", 12), ("wdata", 32), ("wstrb", 4)),
    *(("abandon", 1), ("done", 1), ("resp", 2), ("rdata", 32)),
)
_TO_BOUNDARY: Final = ("ask", "is_write", "addr", "wdata", "wstrb", "abandon")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """`sources` in order; the top is `shell`."""

    sources: tuple[Path, ...]
    geometry: Geometry
    overlay: CaptureResult


def wrap(
    design: Design, out: Path, options: Options | None = None, burst_beats: int = 256
) -> Wrapped:
    """Capture `design` and its boundary and write the shell around them into `out`.

    burst_beats  of the overlay's longest burst; the boundary's buffers, and with them its share of
                 a snapshot, are as large
    Raises what capture raises, and DesignError for a design with other ports than an overlay's.
    """
    if not 1 <= burst_beats <= MAX_BURST_BEATS:
        raise DesignError(f"bursts of {burst_beats} beats: AXI4 has 1 to {MAX_BURST_BEATS}")
    options = options or Options()
    overlay = capture(design, out / "overlay", options)
    _check_ports(overlay.report.top, overlay.verilog.read_text(encoding="utf-8"))
    boundary = capture(
        Design(
            tuple(RTL / f"shell_{name}.sv" for name in _CAPTURED),
            "shell_boundary",
            {"BeatsLog2": max((burst_beats - 1).bit_length(), 1)},
        ),
        out / "boundary",
        options,
    )
    geometry = Geometry.of(overlay.state_map.read_bytes(), boundary.state_map.read_bytes())
    top = out / "shell.sv"
    top.write_text(shell_text(overlay.report.top, geometry), encoding="utf-8")
    plain = tuple(RTL / f"shell_{name}.sv" for name in _PLAIN)
    return Wrapped((*plain, overlay.verilog, boundary.verilog, top), geometry, overlay)


def _check_ports(top: str, captured: str) -> None:
    """An overlay has the ports that the shell joins, no other, each as wide."""
    inputs = [("ap_clk", 1), ("ap_rst_n", 1)]
    inputs += [(f"s_axi_control_{name}", width) for name, width in LITE_REQUESTS]
    inputs += [(f"m_axi_gmem_{name}", width) for name, width in FULL_ANSWERS]
    outputs = [("interrupt", 1)]
    outputs += [(f"s_axi_control_{name}", width) for name, width in LITE_ANSWERS]
    outputs += [(f"m_axi_gmem_{name}", width) for name, width in FULL_REQUESTS]
    wanted = {name: f"input {_span(width)}{name}" for name, width in inputs}
    wanted |= {name: f"output {_span(width)}{name}" for name, width in outputs}
    header = captured.partition(f"\nmodule {top} (\n")[2].partition("\n);")[0]
    lines = [line.strip().removesuffix(",") for line in header.splitlines()]
    found = {line.split()[-1]: line for line in lines if line.split()[-1] not in STATE_PORTS}
    wrong = [line for name, line in wanted.items() if found.get(name) != line]
    wrong += [f"no port {name}" for name in found if name not in wanted]
    if wrong:
        more = f", and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise DesignError(
            f"{top} has not the ports of an overlay (docs/overlays.md); it would need "
            f"{', '.join(wrong[:NAMED])}{more}"
        )


def shell_text(overlay: str, geometry: Geometry) -> str:
    """SystemVerilog of module `shell` around the captured modules `overlay` and shell_boundary."""
    parameters = ", ".join(f".{name}({value})" for name, value in geometry.parameters().items())
    declared = [
        "input logic ap_clk",
        "input logic ap_rst_n",
        *ports("s_axi_shell", LITE_REQUESTS, LITE_ANSWERS),
        *ports("s_axi_control", LITE_REQUESTS, LITE_ANSWERS),
        *ports("m_axi_gmem", FULL_ANSWERS, FULL_REQUESTS),
        *ports("m_axi_snap", FULL_ANSWERS, FULL_REQUESTS),
        "output logic interrupt",
    ]
    state, edge = geometry.parts, geometry.selects
    wires = [
        "logic control_idle, quiet, refuse, park, fabric_run, boundary_run, fabric_rst_n",
        "logic sp_fabric_run, sp_boundary_run, sp_scan, sp_mre, sp_mwe, irq",
        f"logic {_span(geometry.lanes)}sp_si, sp_so, sp_middle",
        "logic [15:0] sp_msel",
        "logic [31:0] sp_maddr",
        f"logic {_span(geometry.mem_width)}sp_mwd, sp_mrd",
        f"logic {_span(state[0].mem_width)}mrd_overlay",
        f"logic {_span(state[1].mem_width)}mrd_boundary",
        "logic of_overlay",
        *(f"logic {_span(width)}link_{name}" for name, width in _LINK),
        *(f"logic {_span(width)}reg_{name}" for name, width in (*LITE_REQUESTS, *LITE_ANSWERS)),
        *(f"logic {_span(width)}fab_{name}" for name, width in (*FULL_REQUESTS, *FULL_ANSWERS)),
        *(f"logic out_{name}" for name in _VALIDS),
    ]
    lite, full = (*LITE_REQUESTS, *LITE_ANSWERS), (*FULL_REQUESTS, *FULL_ANSWERS)
    controller = [
        ".clk_i(ap_clk), .rst_ni(ap_rst_n)",
        *_pins("s_", "s_axi_shell_", lite),
        *(
            f".m_{n}(m_axi_snap_{n})"
            for n, _ in full
            if n not in ("awsize", "awburst", "wstrb", "arsize", "arburst", "rlast")
        ),
        ".control_idle_i(control_idle), .quiet_i(quiet), .refuse_o(refuse), .park_o(park)",
        ".fabric_run_o(fabric_run), .boundary_run_o(boundary_run), .fabric_rst_no(fabric_rst_n)",
        ".sp_fabric_run, .sp_boundary_run, .sp_scan, .sp_si, .sp_so, .sp_msel, .sp_maddr",
        ".sp_mre, .sp_mwe, .sp_mwd, .sp_mrd",
    ]
    front = [
        ".clk_i(ap_clk), .rst_ni(ap_rst_n), .refuse_i(refuse), .idle_o(control_idle)",
        *_pins("s_", "s_axi_control_", lite),
        *(f".{n}_{'o' if n in _TO_BOUNDARY else 'i'}(link_{n})" for n, _ in _LINK),
    ]
    boundary = [
        ".clk_i(ap_clk), .rst_ni(ap_rst_n && fabric_rst_n), .run_i(fabric_run), .park_i(park)",
        ".quiet_o(quiet)",
        *(f".{n}_{'i' if n in _TO_BOUNDARY else 'o'}(link_{n})" for n, _ in _LINK),
        *_pins("reg_", "reg_", lite),
        *(f".fab_{n}(fab_{n})" for n, _ in full if n != "wlast"),
        *(f".out_{n}({'out_' if n in _VALIDS else 'm_axi_gmem_'}{n})" for n, _ in full),
        ".sp_run(sp_boundary_run)",
        *_state_pins("sp_si", "sp_middle", f"sp_msel - 16'd{edge}", "!of_overlay", state[1]),
        ".sp_mrd(mrd_boundary)",
    ]
    fabric = [
        ".ap_clk(ap_clk), .ap_rst_n(ap_rst_n && fabric_rst_n), .interrupt(irq)",
        *_pins("s_axi_control_", "reg_", lite),
        *_pins("m_axi_gmem_", "fab_", full),
        ".sp_run(sp_fabric_run)",
        *_state_pins("sp_middle", "sp_so", "sp_msel", "of_overlay", state[0]),
        ".sp_mrd(mrd_overlay)",
    ]
    return "\n".join(
        [
            f"// Made by rtl_sim.shell for overlay {overlay}, geometry {geometry.id:#018x}.",
            "module shell (",
            ",\n".join(f"  {port}" for port in declared),
            ");",
            *(f"  {wire};" for wire in wires),
            "",
            f"  assign of_overlay = sp_msel < 16'd{edge};" if edge else "  assign of_overlay = 0;",
            f"  assign sp_mrd = of_overlay ? {geometry.mem_width}'(mrd_overlay)"
            f" : {geometry.mem_width}'(mrd_boundary);",
            "  // Quiet or frozen, the boundary's requests mean nothing; frozen, the chain shows.",
            *(f"  assign m_axi_gmem_{n} = out_{n} && boundary_run;" for n in _VALIDS),
            "  assign interrupt = irq && fabric_run;",
            "  assign {m_axi_snap_awsize, m_axi_snap_arsize} = {3'd3, 3'd3};",
            "  assign {m_axi_snap_awburst, m_axi_snap_arburst} = {2'd1, 2'd1};",
            "  assign m_axi_snap_wstrb = 8'hFF;",
            "",
            _instance("shell_controller", "u_controller", controller, f" #({parameters})"),
            _instance("shell_lite_front", "u_front", front),
            _instance("shell_boundary", "u_boundary", boundary),
            _instance(overlay, "u_overlay", fabric),
            "endmodule",
            "",
        ]
    )


_Signals = Sequence[tuple[str, int]]


def ports(prefix: str, inputs: _Signals, outputs: _Signals) -> list[str]:
    """Declarations of a module's ports, `prefix`_name."""
    return [
        f"{direction} logic {_span(width)}{prefix}_{name}"
        for direction, signals in (("input", inputs), ("output", outputs))
        for name, width in signals
    ]


def _pins(own: str, outer: str, signals: _Signals) -> list[str]:
    return [f".{own}{name}({outer}{name})" for name, _ in signals]


def _state_pins(si: str, so: str, select: str, mine: str, state: StateMap) -> list[str]:
    return [
        f".sp_scan(sp_scan), .sp_si({si}), .sp_so({so}), .sp_msel({select}), .sp_maddr(sp_maddr)",
        f".sp_mre(sp_mre && {mine}), .sp_mwe(sp_mwe && {mine})",
        f".sp_mwd(sp_mwd[{state.mem_width - 1}:0])",
    ]


def _instance(module: str, name: str, pins: Sequence[str], parameters: str = "") -> str:
    return f"  {module}{parameters} {name} (\n    " + ",\n    ".join(pins) + "\n  );"


def _span(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""
