"""Plays one stimulus into the original and captured instances, halting one again and again.

Everything random comes from (seed, stimulus): the same numbers give the same rows, halts and noise,
which is how a divergence is played again with waveforms (`Tracing`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from rtl_sim import snapshot as fabric
from rtl_sim.prove.builds import Builds
from rtl_sim.prove.report import Differing, Divergence
from rtl_sim.prove.stimulus import Stimulus
from rtl_sim.snapshot import Snapshot
from rtl_sim.statemap import StateMap
from rtl_sim.verilated.halting import HaltablePlayer, complement, noise_state
from rtl_sim.verilated.player import Player, Port, Rows

CUTS: Final = 25  # halts in a stimulus
NOISE_STARTS: Final = 3  # one stimulus in so many starts from noise instead of reset
READ_BACK: Final = 0.1  # chance that a restored state is read back at once
NAMED: Final = 16  # differing signals that a report names
DROPPED: Final = 5  # tries to notice a missing segment: a stimulus may overwrite it at once


@dataclass(frozen=True, slots=True)
class Tracing:
    """Write waveforms into `folder` from halt `cut` on."""

    folder: Path
    cut: int


@dataclass(slots=True)
class Outcome:
    """Of one stimulus; with a divergence it ended there."""

    pairs: int = 0
    edges: int = 0
    rows: int = 0
    divergence: Divergence | None = None


def play(
    builds: Builds,
    seed: int,
    stimulus: int,
    cuts: int = CUTS,
    *,
    drop: str | None = None,
    tracing: Tracing | None = None,
) -> Outcome:
    """One stimulus with `cuts` halts. `drop`: a segment that restores leave as noise."""
    with ExitStack() as stack:
        return _Run(builds, seed, stimulus, stack, drop, tracing).play(cuts)


class _Run:
    def __init__(
        self,
        builds: Builds,
        seed: int,
        stimulus: int,
        stack: ExitStack,
        drop: str | None,
        tracing: Tracing | None,
    ) -> None:
        self.builds, self.stimulus, self.stack, self.drop = builds, stimulus, stack, drop
        self.tracing = tracing
        self.rng = np.random.default_rng([seed, stimulus])
        self.noise = random.Random(f"{seed} {stimulus}")
        self.outcome = Outcome()
        self.cut = 0
        self.original = stack.enter_context(Player(builds.original, stops=False))
        design = builds.design
        self.source = Stimulus(
            self.original.inputs, builds.state_map.clocks, design.resets, design.hold, self.rng
        )
        # No reset is active at power-on: a simulator would see no edge of it in the original.
        self.original.play(self.source.row.reshape(1, -1))
        self.which = stimulus % 2  # the build that `moved` is of
        self.kept = self.instance(0, 0)
        self.moved = self.instance(self.which, 0)
        self.from_noise = bool(stimulus % NOISE_STARTS == NOISE_STARTS - 1) and drop is None

    def instance(self, which: int, seed: int) -> HaltablePlayer:
        """A fresh one; `seed` 0: as powered on, in the state that the original has then."""
        captured = self.builds.captured[which]
        noise = np.random.default_rng(int(self.rng.integers(1 << 62)))
        return self.stack.enter_context(
            HaltablePlayer(
                captured.library, captured.state_map, seed, noise, self.source.row, stops=False
            )
        )

    def play(self, cuts: int) -> Outcome:
        if self.from_noise:
            state = noise_state(self.builds.state_map, self.noise)
            for player in (self.kept, self.moved):
                player.load(state, self.source.row)
        self.trace(0)
        if self.compare(self.source.start(), None):
            return self.outcome
        left: HaltablePlayer | None = None
        for _ in range(cuts):
            if self.compare(self.source.burst(), left):
                return self.outcome
            if left is not None:
                left.close()
            left = self.moved
            if self.move():
                return self.outcome
        self.compare(self.source.burst(), left) or self.compare_states()
        return self.outcome

    def move(self) -> bool:
        """Freeze, save, and go on in a fresh instance of the other build, full of noise."""
        snapshot = self.moved.save()
        self.cut += 1
        self.which ^= 1
        fresh = self.instance(self.which, self.noise.randrange(1, 1 << 30))
        poison = noise_state(fresh.map, self.noise)
        fresh.load(poison)
        given = snapshot
        if self.drop is not None:
            segments = {**snapshot.segments, self.drop: poison.segments[self.drop]}
            given = Snapshot(snapshot.overlay, snapshot.layout_id, snapshot.cycle, segments)
        fresh.load(given, self.source.row)
        self.moved = fresh
        self.outcome.pairs += 1
        if self.drop is None and self.rng.random() < READ_BACK:
            differing = state_differences(snapshot, fresh.save(), fresh.map)
            if differing:
                return self.diverged("restore", 0, (), differing)
        self.trace(self.cut)
        return False

    def compare(self, rows: Rows, left: HaltablePlayer | None) -> bool:
        """Play `rows` everywhere; True at a divergence."""
        self.outcome.rows += len(rows)
        self.outcome.edges = self.source.edges
        kept = self.kept.play(rows)
        if not self.from_noise:
            wanted = self.original.play(rows)
            if self.differ("original", wanted, kept):
                return True
        return self.differ("halting", kept, self.moved.play(rows)) or (
            left is not None and self.differ("source", kept, left.play(rows))
        )

    def differ(self, law: str, wanted: Rows, found: Rows) -> bool:
        unequal = (wanted != found).any(axis=1)
        if not unequal.any():
            return False
        row = int(unequal.argmax())
        outputs = tuple(_differing(self.original.outputs, wanted[row], found[row]))
        return self.diverged(law, row, outputs, ())

    def compare_states(self) -> bool:
        differing = state_differences(self.kept.save(), self.moved.save(), self.kept.map)
        return bool(differing) and self.diverged("state", 0, (), differing)

    def diverged(
        self, law: str, row: int, outputs: tuple[Differing, ...], state: tuple[Differing, ...]
    ) -> bool:
        self.outcome.divergence = Divergence(
            law, self.stimulus, self.cut, row, outputs[:NAMED], state[:NAMED]
        )
        return True

    def trace(self, cut: int) -> None:
        if self.tracing is not None and cut == self.tracing.cut:
            folder = self.tracing.folder
            self.original.trace(folder / "original.vcd")
            self.kept.trace(folder / "kept.vcd")
            self.moved.trace(folder / "moved.vcd")


def coverage(builds: Builds, seed: int) -> int:
    """Bits of state that were written and read back as 0 and as 1, in both builds."""
    noise = random.Random(f"{seed} coverage")
    covered: list[int] = []
    for captured in builds.captured:
        state_map = captured.state_map
        with HaltablePlayer(
            captured.library, state_map, 1, np.random.default_rng([seed, 1]), stops=False
        ) as player:
            first = noise_state(state_map, noise)
            wrong: set[tuple[str, int]] = set()
            for state in (first, complement(first, state_map)):
                wrong |= set(_wrong_bits(state, player.load_and_save(state), state_map))
        covered.append(state_map.state_bits - len(wrong))
    return min(covered)


def segments(state_map: StateMap) -> list[str]:
    """The names of what a snapshot holds of the design."""
    return [
        *([fabric.FLOPS] if state_map.bits else []),
        *(fabric.MEMORY_PREFIX + memory.name for memory in state_map.memories),
    ]


def notices(builds: Builds, seed: int, segment: str) -> bool:
    """Whether some stimulus shows that restores leave `segment` out."""
    return any(
        play(builds, seed, number, cuts=1 + number, drop=segment).divergence is not None
        for number in range(DROPPED)
    )


def state_differences(
    wanted: Snapshot, found: Snapshot, state_map: StateMap
) -> tuple[Differing, ...]:
    """Registers and words of memories that differ, by name."""
    groups: dict[str, list[tuple[int, int, int]]] = {}
    for (name, bit), (a, b) in _unequal_bits(wanted, found, state_map):
        groups.setdefault(name, []).append((bit, a, b))
    return tuple(
        Differing(name, _hex(bits, 1), _hex(bits, 2)) for name, bits in sorted(groups.items())
    )


def _hex(bits: Sequence[tuple[int, int, int]], side: int) -> str:
    return f"{sum(each[side] << each[0] for each in bits):#x} (bits that differ)"


def _wrong_bits(
    wanted: Snapshot, found: Snapshot, state_map: StateMap
) -> Iterator[tuple[str, int]]:
    return (place for place, _ in _unequal_bits(wanted, found, state_map))


def _unequal_bits(
    wanted: Snapshot, found: Snapshot, state_map: StateMap
) -> Iterator[tuple[tuple[str, int], tuple[int, int]]]:
    """((name, bit), (wanted, found)); a memory's word is `name[index]`."""
    words = {fabric.MEMORY_PREFIX + memory.name: memory for memory in state_map.memories}
    for segment, payload in wanted.segments.items():
        if payload == found.segments[segment]:
            continue
        a, b = (
            np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            for data in (payload, found.segments[segment])
        )
        for index in np.flatnonzero(a != b):
            if segment == fabric.FLOPS:
                place = state_map.bits[index]
            else:
                memory = words[segment]
                word, bit = divmod(int(index), memory.word_bytes * 8)
                place = (f"{memory.name}[{word}]", bit)
            yield place, (int(a[index]), int(b[index]))


def _differing(ports: Sequence[Port], wanted: Rows, found: Rows) -> Iterator[Differing]:
    for port in ports:
        words = slice(port.first, port.first + port.words)
        if (wanted[words] != found[words]).any():
            a, b = (int.from_bytes(row[words].tobytes(), "little") for row in (wanted, found))
            yield Differing(port.name, f"{a:#x}", f"{b:#x}")
