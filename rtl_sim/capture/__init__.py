"""State capture: rewrites RTL so that all its state can be read and written while frozen.

A design to be halted must, at any cycle, stop, give away everything it remembers, take it back
elsewhere, and go on without anyone seeing a difference. Nothing in RTL provides for that. This
package adds it to a design without a change to its sources:

    RTL --Yosys--> netlist --refuse, prepare, place, write--> Verilog with a state port + state map

*Reading* (`readers.py`) is slang's for SystemVerilog and Yosys's own for Verilog, both in Yosys.
Registers are marked before flattening (`elaborate.py`), because only then is a register's own name
known from the names of ports it passes. The netlist stays at the level of words and memories, and
modules that remember nothing stay modules; those that slang took apart by instance become one
again (`uniform.py`).

*Refusal* (`refuse.py`, `loops.py`). What cannot be held by masking (latches, asynchronous
loads, ...) or not be reached (black boxes, unless they declare what they
hold: `boxes.py`) is refused with a reason, all at once. A cell that is in no table is refused too:
capture never guesses.

*The rewrite* (`flops.py`, `memories.py`). A flip-flop does one of three things at a clock edge:

    if (sp_run)        what the RTL says
    else if (sp_scan)  take the bit one row up the chain
    else               hold

Enables, write enables and synchronous resets stand under `sp_run` and need no masks of their own;
an asynchronous reset is masked. So freezing takes no cycle and may happen at any. The chain moves
`lanes` bits a cycle; R shifts with its end fed to its start read all and leave it as it was.
Memories are walked by address, through ports that they have already. A read register of a memory
stays in it, so that synthesis finds block RAM; it is restored through the memory, or has a shadow
on the chain (`readregs.py`). Arrays of registers that share their data are walked like memories
(`banks.py`). ROMs are no state; the state map holds a digest of their content.

*Names, not places* (`state.py`, `statemap.py`). The state map says where on the chain each bit
is. A snapshot holds bits in the order of their names, so a build with another chain can load it;
the layout id is a digest of names and sizes alone.

*Speed* (`updates.py`, `prepare.py`, `scope.py`). What simulates slowly is not the chain but what a
netlist forgets: that an `if` guards a computation. Enables, resets and cases have become
multiplexers before D, and computed is everything, always. So the multiplexers that serve registers
alone are written as the nested ifs they came from; and each variable is driven whole by one cell,
so that a simulator never splits one. `benchmarks/capture_rate.py` compares with the RTL.

*Modules* (`owners.py`, `modules.py`). The emitted top is one text, or is cut into a module for each
instance with state.

*Proof.* `rtl_sim.prove` halts captured designs at random instants, moves their state between
builds with different chains and compares with the original; Yosys, too, proves there that with
`sp_run` 1 next states and outputs are the original's. `tests/rtl` shows that every bit is written
and read, and that broken captures are caught.

*Assertions and messages* (`formal.py`) come along, guarded by `sp_run`, for simulators only.

*Clocks* (`clocks.py`, `domains.py`). A design may have several, of both edges, derived and gated:
while frozen all of them are one. A design with one clock gets nothing for it. A clock that the RTL
makes by `=` keeps its place before what the same instant assigns by `<=` (`races.py`).

Limits: latches, asynchronous load of what is not constant, and a clock's level as a register's data
are not done.
"""

from rtl_sim.capture.errors import (
    CaptureError,
    CaptureRefused,
    ElaborationError,
    Refusal,
    ToolError,
)
from rtl_sim.capture.options import Options
from rtl_sim.capture.tool import CaptureReport, CaptureResult, capture

__all__ = [
    "CaptureError",
    "CaptureRefused",
    "CaptureReport",
    "CaptureResult",
    "ElaborationError",
    "Options",
    "Refusal",
    "ToolError",
    "capture",
]
