"""Text of the harness with two shells, `a` and `b`, side by side on one clock.

Memory errors of the snapshot's port are made here: `fail_read`, `fail_write` turn its answers into
SLVERR.
"""

from __future__ import annotations

from rtl_sim.shell.wrap import (
    FULL_ANSWERS,
    FULL_REQUESTS,
    LITE_ANSWERS,
    LITE_REQUESTS,
    ports,
)

_IDS = ("awid", "arid", "bid", "rid")  # the bench's memory wants them, overlays have none


def pair() -> str:
    declared = ["input logic clk, rst_n, fail_read, fail_write"]
    bodies = []
    for copy in "ab":
        pins = [".ap_clk(clk), .ap_rst_n(rst_n)", f".interrupt({copy}_irq)"]
        declared.append(f"output logic {copy}_irq")
        for bus in ("s_axi_shell", "s_axi_control"):
            declared += ports(f"{copy}_{bus}", LITE_REQUESTS, LITE_ANSWERS)
            pins += [f".{bus}_{n}({copy}_{bus}_{n})" for n, _ in (*LITE_REQUESTS, *LITE_ANSWERS)]
        for bus in ("m_axi_gmem", "m_axi_snap"):
            declared += ports(f"{copy}_{bus}", FULL_ANSWERS, FULL_REQUESTS)
            for name, _ in (*FULL_REQUESTS, *FULL_ANSWERS):
                fail = {"bresp": "fail_write", "rresp": "fail_read"}.get(name)
                wire = f"{copy}_{bus}_{name}"
                shown = f"{wire} | {{{fail}, 1'b0}}" if fail and bus == "m_axi_snap" else wire
                pins.append(f".{bus}_{name}({shown})")
            for name in _IDS:
                way = "output" if name.startswith("a") else "input"
                declared.append(f"{way} logic [0:0] {copy}_{bus}_{name}")
            bodies += [f"  assign {copy}_{bus}_{n} = 0;" for n in ("awid", "arid")]
        bodies.append(f"  shell u_{copy} (\n    " + ",\n    ".join(pins) + "\n  );")
    head = ",\n".join(f"  {port}" for port in declared)
    return "\n".join(["module shell_pair (", head, ");", *bodies, "endmodule", ""])
