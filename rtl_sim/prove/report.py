"""What a proof found: counts, and the first divergence if there was one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Differing:
    """One signal that shows `found` where `wanted` was expected, in hexadecimal."""

    name: str
    wanted: str
    found: str


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where two runs that must be equal first were not.

    law        "original": captured, running, against the RTL as written; "halting": moved against
               kept; "source": an instance that was saved against kept; "state": state at the end;
               "restore": a loaded state read back otherwise
    stimulus   its number; cut: the number of halts before; row: of the burst since then
    registers  bits of state that differ at the row, by the RTL's names: known for some laws only
    waveforms  of both sides, from the instant of the last halt on; time n is after row n
    """

    law: str
    stimulus: int
    cut: int
    row: int
    outputs: tuple[Differing, ...]
    registers: tuple[Differing, ...] = ()
    waveforms: tuple[str, ...] = ()
    note: str = ""
    command: str = ""

    def __str__(self) -> str:
        differing = [f"{d.name}: {d.found} instead of {d.wanted}" for d in self.outputs]
        registers = [f"{d.name}: {d.found} instead of {d.wanted}" for d in self.registers]
        lines = [f"{self.law}: stimulus {self.stimulus}, after halt {self.cut}, row {self.row}"]
        lines += [f"  output {text}" for text in differing]
        lines += [f"  state  {text}" for text in registers]
        lines += [f"  waveform {path}" for path in self.waveforms]
        lines += [f"  {text}" for text in (self.note, self.command) if text]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Control:
    """A segment that a restore left out on purpose, and whether that was noticed."""

    segment: str
    noticed: bool


@dataclass(frozen=True, slots=True)
class ProofReport:
    top: str
    seed: int
    stimuli: int
    pairs: int  # (stimulus, cycle): halts
    cycles: int  # rising edges of the design's clocks
    rows: int  # at each of which every output was compared
    state_bits: int
    covered_bits: int  # written and read as 0 and as 1, in both builds
    save_cycles: tuple[int, int]  # of the two builds
    seconds: float
    divergence: Divergence | None = None
    controls: tuple[Control, ...] = ()
    equivalence: str = "not tried"
    initial_edges: bool = False  # the original was simulated with an edge of all at power-on

    @property
    def ok(self) -> bool:
        return (
            self.divergence is None
            and self.covered_bits == self.state_bits
            and all(control.noticed for control in self.controls)
        )

    def __str__(self) -> str:
        lines = [
            f"{self.top}: {'no divergence' if self.ok else 'NOT PROVED'}",
            f"  {self.pairs} (stimulus, cycle) pairs in {self.stimuli} stimuli, {self.cycles} "
            f"cycles, seed {self.seed}, {self.seconds} s",
            f"  {self.covered_bits} of {self.state_bits} state bits written and read",
            f"  a save takes {' or '.join(map(str, self.save_cycles))} cycles",
        ]
        for control in self.controls:
            said = "noticed" if control.noticed else "NOT NOTICED"
            lines.append(f"  control: {control.segment} left out of a restore: {said}")
        if self.initial_edges:
            lines.append("  a reset inside is active at power-on: the original is given its edge")
        lines.append(f"  equivalence by Yosys: {self.equivalence}")
        if self.divergence is not None:
            lines.append(f"  {self.divergence}".replace("\n", "\n  "))
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}
