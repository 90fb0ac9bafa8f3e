"""The text of a design's clocks: what stands in `always @(...)`.

While frozen, every clock is the primary one, so that the whole chain shifts together:

    wire sp_clk_0 = sp_run ? <the design's clock> : clk;

Where the design's clock may be high at release, this would make an edge that the design does not
have. There a switch (`SWITCH`) stands instead, which passes that clock on from when it is next low.

For Verilator, flip-flops wait for the edges of either themselves (`events`): the design's while
running, the primary one's otherwise.

Frozen by a gated clock (`Options.freeze`), flip-flops have a clock that stands still while neither
running nor scanning, and no enable to be masked. Memories keep their clock: the state port writes
words while flip-flops stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from rtl_sim.capture.clocks import Clocks
from rtl_sim.capture.netlist import Bit
from rtl_sim.capture.scope import Scope, identifier

GATE: Final = "haltere_clock_gate"
SWITCH: Final = "haltere_clock_switch"

NAMES: Final = ("sp_gated", "sp_gate")  # in the top, beside those of other clocks

# Emitted once each, under names of the design's own, where they are used.
MODULES: Final[Mapping[str, str]] = {
    GATE: """\
// On a board, a clock buffer with an enable (BUFGCE) takes the place of this module.
module {name} (input clk, input enable, output gated);
  reg open;
  /* verilator lint_off LATCH */
  always @* if (!clk) open = enable;
  /* verilator lint_on LATCH */
  assign gated = clk && open;
endmodule""",
    SWITCH: """\
// `functional` while running, from when it is first low; `frozen` otherwise: no edge of its own.
module {name} (input run, input functional, input frozen, output switched);
  reg open;
  /* verilator lint_off LATCH */
  always @* if (!run || !functional) open = run;
  /* verilator lint_on LATCH */
  assign switched = open ? functional : !run && frozen;
endmodule""",
}


class Domains:
    def __init__(self, clocks: Clocks, scope: Scope, top: str, gated: bool) -> None:
        self._clocks, self._scope, self.gated = clocks, scope, gated
        self._gate, self._switch = f"{top}__{GATE}", f"{top}__{SWITCH}"
        self.primary: Final = identifier(clocks.primary) if clocks.primary else "1'b0"
        self._names = {
            (clock.bit, clock.rising): scope.reserve(f"sp_clk_{index}")
            for index, clock in enumerate(clocks.others)
        }
        self._switched = {(clock.bit, clock.rising) for clock in clocks.others if clock.switched}
        for name in self._names.values():
            scope.reserve(f"{name}_flops"), scope.reserve(f"{name}_switch")

    def edge(self, bit: Bit, rising: bool) -> str:
        """The event at which a memory's port of this clock moves, running or frozen."""
        return f"posedge {self._names.get((bit, rising), self.primary)}"

    def flop_edge(self, bit: Bit, rising: bool) -> str:
        """The same for flip-flops, which a gate may hold."""
        if not self.gated:
            return self.edge(bit, rising)
        other = self._names.get((bit, rising))
        return f"posedge {other}_flops" if other else "posedge sp_gated"

    def events(self, bit: Bit, rising: bool) -> str:
        """`edge` for Verilator: no switch, which it would work out whenever an input changes.

        (`posedge clk iff !sp_run` is lost beside `negedge clk iff sp_run`: Verilator makes one edge
        of two of one signal. `sp_run` changes while `clk` is low, so that this means the same.)
        """
        if (bit, rising) not in self._switched:
            return self.edge(bit, rising)
        own = f"{'posedge' if rising else 'negedge'} {self._scope.render((bit,))}"
        return f"{own} iff sp_run or posedge (!sp_run && {self.primary})"

    def modules(self) -> Iterator[str]:
        """What `declare` instantiates."""
        if self.gated:
            yield MODULES[GATE].format(name=identifier(self._gate))
        if any(clock.switched for clock in self._clocks.others):
            yield MODULES[SWITCH].format(name=identifier(self._switch))

    def declare(self) -> Iterator[str]:
        """What makes the clocks; nothing for a design with one, frozen by enables."""
        yield from self._scope.mark("")
        if self.gated:
            yield "  wire sp_gated;"
            yield f"  {identifier(self._gate)} sp_gate (.clk({self.primary}),"
            yield "    .enable(sp_run || sp_scan), .gated(sp_gated));"
        for clock in self._clocks.others:
            name = self._names[clock.bit, clock.rising]
            text = f"{'' if clock.rising else '!'}{self._scope.render((clock.bit,))}"
            frozen = {name: self.primary}
            if self.gated:
                frozen[f"{name}_flops"] = "sp_gated"
            for wire, source in frozen.items():
                if not clock.switched:
                    yield f"  wire {wire} = sp_run ? {text} : {source};"
                    continue
                yield f"  wire {wire};"
                yield f"  {identifier(self._switch)} {wire}_switch (.run(sp_run),"
                yield f"    .functional({text}), .frozen({source}), .switched({wire}));"
