"""A captured design as a player that can be halted: its state saved, loaded and made noise.

`HaltablePlayer` shows the ports of the design as it was before capture, so that rows for the
original are rows for it; the state port (docs/overlays.md) is its own business. A frozen cycle is
two rows, primary clock low and high; the state port's inputs change while every clock is low.

With `noise` set, inputs and other clocks of a frozen design are noise: nothing of it may come in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from rtl_sim import snapshot as fabric
from rtl_sim.errors import PortError
from rtl_sim.snapshot import Snapshot
from rtl_sim.statemap import Memory, ReadRegister, StateMap
from rtl_sim.verilated.player import Player, Port, Rows, build_player, place

STATE_PORT: Final = frozenset(
    {"sp_run", "sp_scan", "sp_si", "sp_so", "sp_msel", "sp_maddr", "sp_mre", "sp_mwe", "sp_mwd",
     "sp_mrd"}
)  # fmt: skip


def build_haltable(
    verilog: Sequence[Path],
    top: str,
    *,
    trace: bool = False,
    assertions: bool = False,
    hardware: bool = False,
) -> Path:
    """`build_player` of captured RTL, where rows may leave off the state port: while the design
    runs nothing of it moves, and nobody looks at it. `hardware`: of the text that a board gets,
    where that differs from what is quick to simulate."""
    defines = {"SYNTHESIS": ""} if hardware else {}
    return build_player(
        verilog, top, defines=defines, trace=trace, assertions=assertions, last=STATE_PORT
    )


class HaltablePlayer:
    """One instance of a library that `build_haltable` made; it runs at once.

    row  the inputs with which it begins to run (None: zeros). An active asynchronous reset among
         them resets; a simulator of the original sees no edge of one that is active from the start.
    stops  as for Player
    `frozen_cycles` counts primary clock edges spent frozen.
    """

    def __init__(
        self,
        library: Path,
        state_map: StateMap,
        seed: int = 0,
        noise: np.random.Generator | None = None,
        row: NDArray[np.uint32] | None = None,
        *,
        stops: bool = True,
    ) -> None:
        self._player = Player(library, seed, stops=stops)
        self.map = state_map
        self.noise = noise
        self.frozen_cycles = 0
        own = {name: port for name, port in self._player.ports.items() if not port.last}
        self.ports: Mapping[str, Port] = MappingProxyType(own)
        self.in_words, self.out_words = self._player.short_words
        if set(self._player.ports) - set(own) != STATE_PORT:
            raise PortError(f"{library} was not made by build_haltable: it has no state port")
        self._clocks = [self._player.port(name, "in").first for name in state_map.clocks]
        self._run = self._player.port("sp_run", "in").first
        if row is not None:
            given = self._player.row
            given[: self.in_words] = row
            self._player.play(given.reshape(1, -1))
        self._player.set("sp_run", 1)
        self._player.eval()

    # ---- as the original

    @property
    def inputs(self) -> tuple[Port, ...]:
        return tuple(port for port in self.ports.values() if port.direction == "in")

    @property
    def outputs(self) -> tuple[Port, ...]:
        return tuple(port for port in self.ports.values() if port.direction == "out")

    @property
    def row(self) -> NDArray[np.uint32]:
        """A copy of the design's inputs as they stand."""
        return self._player.row[: self.in_words]

    def set(self, name: str, value: int) -> None:
        self._player.set(self._known(name).name, value)

    def get(self, name: str) -> int:
        return self._player.get(self._known(name).name)

    def eval(self) -> None:
        self._player.eval()

    def play(self, rows: Rows) -> Rows:
        """As `Player.play`, with rows of the design's own ports."""
        if rows.ndim != 2 or rows.shape[1] != self.in_words or rows.dtype != np.uint32:
            raise PortError(
                f"rows of {rows.dtype} {rows.shape}; a row of this design is {self.in_words} "
                "words of uint32"
            )
        return self._player.play(rows)  # the state port stays at running

    def port(self, name: str, direction: Literal["in", "out"] | None = None) -> Port:
        """Raises PortError when the design has no such port."""
        self._player.port(name, direction)
        return self._known(name)

    @property
    def log(self) -> str:
        return self._player.log

    def trace(self, path: Path) -> None:
        self._player.trace(path)

    def close(self) -> None:
        self._player.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- state

    def save(self, overlay: str = "") -> Snapshot:
        """The whole state, now; the design stands where it stood. `overlay` names it.

        Raises PortError while a clock is high: a freeze is no clock's edge.
        """
        with self._frozen(self.row):
            return self._snapshot(overlay)

    def load(self, snapshot: Snapshot, row: NDArray[np.uint32] | None = None) -> None:
        """Put `snapshot` in place and go on with the inputs of `row`, those at its freeze.

        row  None: the inputs as they stand. Raises SnapshotError for a state of another layout.
        """
        fabric.verify(snapshot, self.map, [snapshot.overlay], 0)
        with self._frozen(self.row if row is None else row):
            self._write(snapshot.segments)

    def load_and_save(self, snapshot: Snapshot) -> Snapshot:
        """Put `snapshot` in place and read it back before the design runs again: an input that
        resets something asynchronously would change it at once."""
        fabric.verify(snapshot, self.map, [snapshot.overlay], 0)
        with self._frozen(self.row):
            self._write(snapshot.segments)
            return self._snapshot(snapshot.overlay)

    def poison(self, rng: random.Random) -> None:
        """Make noise of every bit of state."""
        self.load(noise_state(self.map, rng))

    @contextmanager
    def _frozen(self, released_with: NDArray[np.uint32]) -> Iterator[None]:
        player = self._player
        high = [name for name in self.map.clocks if player.get(name)]
        if high or np.any(self._released(released_with)[self._clocks]):
            raise PortError(
                f"a freeze needs every clock low, and so does a release: {', '.join(high)} is not"
            )
        held = player.row
        held[self._run] = 0
        player.play(held.reshape(1, -1))
        self._held = held
        self._cycles(1, {})  # the idle edge
        yield
        row = self._released(released_with)
        rows = np.stack([row, row])
        rows[0, self._run] = 0  # inputs stand before it runs
        player.play(rows)

    def _released(self, own: NDArray[np.uint32]) -> NDArray[np.uint32]:
        row = np.zeros(self._player.in_words, np.uint32)
        row[: self.in_words] = own
        row[self._run] = 1
        return row

    def _cycles(
        self,
        count: int,
        controls: Mapping[str, NDArray[np.uint32] | int],
        feed: tuple[str, str] | None = None,
    ) -> tuple[Rows, Rows]:
        """`count` frozen cycles; outputs before and after each rising edge.

        controls  inputs of the state port: a value for all cycles, or (count, words) of them
        """
        rows = np.tile(self._held, (2 * count + 1, 1))
        if self.noise is not None:
            shape = (len(rows), self.in_words)
            rows[:, : self.in_words] = self.noise.integers(0, 1 << 32, shape, dtype=np.uint32)
            rows[::2, self._clocks] = 0
        rows[1::2, self._clocks[0]] = 1
        for name, value in controls.items():
            port = self._player.port(name, "in")
            if isinstance(value, int):
                place(rows[0], port, value)
                rows[1:-1, port.first : port.first + port.words] = rows[
                    0, port.first : port.first + port.words
                ]
            else:
                rows[:-1, port.first : port.first + port.words] = np.repeat(value, 2, axis=0)
        shown = self._player.play(rows, feed)
        self.frozen_cycles += count
        return shown[:-1:2], shown[1::2]

    def _snapshot(self, overlay: str) -> Snapshot:
        segments = {**self._read(), fabric.SHELL: b""}
        return Snapshot(overlay, self.map.layout_id, 0, segments)

    def _read(self) -> dict[str, bytes]:
        """Everything, with the registers repaired that walking the memories went through."""
        rows = self._take(self._rotate(None), "sp_so", self.map.row_bytes)
        registers = [self._read_register(register) for register in self.map.read_registers]
        words = {memory.index: self._read_memory(memory) for memory in self.map.memories}
        values = dict(zip(self.map.read_registers, registers, strict=True))
        for register in self.map.walked:
            memory = self._memory(register)
            self._load_register(register, values[register])
            self._write_memory(memory, words[memory.index][: memory.word_bytes])
        segments = {fabric.FLOPS: self.map.gather(rows, registers)}
        for memory in self.map.memories:
            segments[fabric.MEMORY_PREFIX + memory.name] = words[memory.index]
        return segments

    def _write(self, segments: Mapping[str, bytes]) -> None:
        rows, registers = self.map.scatter(segments[fabric.FLOPS])
        self._rotate(rows)
        for register, value in zip(self.map.read_registers, registers, strict=True):
            self._load_register(register, value)
        for memory in self.map.memories:
            self._write_memory(memory, segments[fabric.MEMORY_PREFIX + memory.name])

    def _rotate(self, rows: bytes | None) -> Rows:
        """Turn the chain once: `rows` in, or what comes out if None; outputs with each row."""
        controls: dict[str, NDArray[np.uint32] | int] = {"sp_scan": 1}
        if rows is not None:
            controls["sp_si"] = self._words(rows, "sp_si", self.map.row_bytes)
        return self._cycles(self.map.rows, controls, ("sp_so", "sp_si") if rows is None else None)[
            0
        ]

    def _read_memory(self, memory: Memory) -> bytes:
        addresses = np.arange(memory.depth, dtype=np.uint32).reshape(-1, 1)
        _, shown = self._cycles(
            memory.depth, {"sp_msel": memory.index, "sp_mre": 1, "sp_maddr": addresses}
        )
        return self._take(shown, "sp_mrd", memory.word_bytes)

    def _write_memory(self, memory: Memory, words: bytes) -> None:
        """From word 0 on."""
        data = self._words(words, "sp_mwd", memory.word_bytes)
        addresses = np.arange(len(data), dtype=np.uint32).reshape(-1, 1)
        self._cycles(
            len(data),
            {"sp_msel": memory.index, "sp_mwe": 1, "sp_maddr": addresses, "sp_mwd": data},
        )

    def _read_register(self, register: ReadRegister) -> bytes:
        shown, _ = self._cycles(1, {"sp_msel": register.select})
        return self._take(shown, "sp_mrd", register.size_bytes)

    def _load_register(self, register: ReadRegister, value: bytes) -> None:
        """Through word 0 of its memory, which the caller puts back."""
        memory = self._memory(register)
        self._write_memory(memory, value.ljust(memory.word_bytes, b"\0"))
        self._cycles(1, {"sp_msel": register.select, "sp_mre": 1, "sp_maddr": 0})

    def _memory(self, register: ReadRegister) -> Memory:
        return next(m for m in self.map.memories if m.index == register.memory)

    def _take(self, shown: Rows, name: str, size_bytes: int) -> bytes:
        """The first `size_bytes` of an output in each of the rows."""
        port = self._player.port(name, "out")
        words = np.ascontiguousarray(shown[:, port.first : port.first + port.words])
        return words.view(np.uint8)[:, :size_bytes].tobytes()

    def _words(self, data: bytes, name: str, size_bytes: int) -> NDArray[np.uint32]:
        """The inverse: (count, words of the port) from `size_bytes` each."""
        port = self._player.port(name, "in")
        given = np.frombuffer(data, np.uint8).reshape(-1, size_bytes)
        words = np.zeros((len(given), port.words * 4), np.uint8)
        words[:, :size_bytes] = given
        return words.view(np.uint32)

    def _known(self, name: str) -> Port:
        if name not in self.ports:
            raise PortError(f"the design has no port {name!r}; it has {', '.join(self.ports)}")
        return self.ports[name]


def noise_state(state_map: StateMap, rng: random.Random) -> Snapshot:
    """A state of random bits."""
    segments = {fabric.FLOPS: _noise(rng, len(state_map.bits), 1)}
    for memory in state_map.memories:
        segments[fabric.MEMORY_PREFIX + memory.name] = _noise(rng, memory.width, memory.depth)
    segments[fabric.SHELL] = b""
    return Snapshot("", state_map.layout_id, 0, segments)


def complement(snapshot: Snapshot, state_map: StateMap) -> Snapshot:
    """Every bit of state the other way round."""
    widths = {fabric.FLOPS: (len(state_map.bits), 1), fabric.SHELL: (0, 0)}
    for memory in state_map.memories:
        widths[fabric.MEMORY_PREFIX + memory.name] = (memory.width, memory.depth)
    segments = {
        name: _bitwise_not(payload, *widths[name]) for name, payload in snapshot.segments.items()
    }
    return replace(snapshot, segments=segments)


def _noise(rng: random.Random, width: int, depth: int) -> bytes:
    size = -(-width // 8)
    words = np.frombuffer(rng.randbytes(size * depth), np.uint8).reshape(depth, size)
    return (words & _mask(width)).tobytes()


def _bitwise_not(payload: bytes, width: int, depth: int) -> bytes:
    words = np.frombuffer(payload, np.uint8).reshape(depth, -(-width // 8))
    return (~words & _mask(width)).tobytes()


def _mask(width: int) -> NDArray[np.uint8]:
    size = -(-width // 8)
    return np.frombuffer(((1 << width) - 1).to_bytes(size, "little"), np.uint8)
