"""A Verilated model of any top module, driven by rows: `Player`.

A row is the value of every input; playing it sets them, evaluates, and records every output. A
clock is an input like another, so what a row means is the caller's. Rows are numpy arrays of
32-bit words and one call plays thousands of them, which is what makes it fast: a call costs some
microseconds, a row of a small design well under one. Not thread-safe: one thread at a time per
player; calls release the interpreter lock. Knows nothing of state ports (see halting.py).

    library = build_player([Path("counter.sv")], "counter")
    with Player(library) as counter:
        counter.set("enable", 1)
        for level in (0, 1):
            counter.set("clk", level)
            counter.eval()
        print(counter.get("count"))
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from rtl_sim.errors import ModelFault, PortError
from rtl_sim.verilated.player_build import RUN_FOLDER, Port, build_player

__all__ = ["Player", "Port", "Rows", "build_player"]

ABI_VERSION = 3
Rows = NDArray[np.uint32]  # (number of rows, words of a row)


class Player:
    """One instance of a library that `build_player` made. All inputs are 0 at first.

    seed   0: registers and memories that nothing initializes are zero; else noise from this seed
    stops  at $finish, $stop, $fatal and $error; else it goes on as if they only printed
    """

    def __init__(self, library: Path, seed: int = 0, *, stops: bool = True) -> None:
        self._handle: int | None = None
        self._library, self.ports = _load(library)
        self.in_words = _words(self.ports, "in")
        self.out_words = _words(self.ports, "out")
        first = {name: port for name, port in self.ports.items() if not port.last}
        self.short_words = (_words(first, "in"), _words(first, "out"))
        self._row = np.zeros(self.in_words, np.uint32)
        self._shown = np.zeros(self.out_words, np.uint32)
        # `initial` blocks run in the first evaluation: that is when they read files by name.
        with contextlib.chdir(library.parent / RUN_FOLDER):
            self._handle = self._library.haltere_player_create(seed)
            if not self._handle:
                raise ModelFault(f"{library}: the model cannot be created")
            if not stops:
                self._library.haltere_player_go_on(self._handle)
            self.eval()

    @property
    def inputs(self) -> tuple[Port, ...]:
        """In the order in which they stand in a row."""
        return tuple(port for port in self.ports.values() if port.direction == "in")

    @property
    def outputs(self) -> tuple[Port, ...]:
        return tuple(port for port in self.ports.values() if port.direction == "out")

    @property
    def row(self) -> NDArray[np.uint32]:
        """A copy of the inputs as they stand: a row to make others of."""
        return self._row.copy()

    def set(self, name: str, value: int) -> None:
        """Give an input its value for the next `eval`. Raises PortError for one that cannot be."""
        place(self._row, self.port(name, "in"), value)

    def get(self, name: str) -> int:
        """What an output shows (or an input was given)."""
        port = self.port(name)
        words = self._shown if port.direction == "out" else self._row
        return int.from_bytes(words[port.first : port.first + port.words].tobytes(), "little")

    def eval(self) -> None:
        """Play one row: the inputs as they were set."""
        self.play(self._row.reshape(1, -1))

    def play(self, rows: Rows, feed: tuple[str, str] | None = None) -> Rows:
        """Set, evaluate and record, row by row.

        rows  (n, in_words); `inputs` say where each port stands; bits above its width are ignored.
              Or short, without the ports that come last: those inputs stay as last played, and
              what those outputs show is not recorded; `get` knows it after the last row
        feed  (output, input) of one width: in each row the input is what the output showed before
        Returns (n, out_words), or without the last outputs. Raises PortError for rows of another
        shape and ModelFault when the model stopped ($finish, $stop, a fatal error), which it stays.
        """
        widths = dict([self.short_words, (self.in_words, self.out_words)])
        if rows.ndim != 2 or rows.shape[1] not in widths or rows.dtype != np.uint32:
            raise PortError(
                f"rows of {rows.dtype} {rows.shape}; a row of this model is {self.in_words} "
                "words of uint32"
            )
        given = np.ascontiguousarray(rows)
        shown = np.empty((len(given), widths[given.shape[1]]), np.uint32)
        places = (0, 0, 0)
        if feed is not None:
            source, target = self.port(feed[0], "out"), self.port(feed[1], "in")
            if source.width != target.width:
                raise PortError(f"{feed[0]} has {source.width} bits, {feed[1]} {target.width}")
            places = (source.first, target.first, target.words)
        outputs = np.empty_like(self._shown)
        done = self._library.haltere_player_play(
            self._handle, given.ctypes.data, given.shape[1], shown.ctypes.data, shown.shape[1],
            len(given), *places, outputs.ctypes.data,
        )  # fmt: skip
        if done < len(given) or self._library.haltere_player_stopped(self._handle):
            raise ModelFault(f"the model stopped in row {max(done, 1) - 1}: {self.log}")
        if len(given):
            before = shown[-2] if len(given) > 1 else self._shown
            self._row[: given.shape[1]] = given[-1]
            if feed is not None:
                fed = before[source.first : source.first + source.words]
                self._row[target.first : target.first + target.words] = fed
            self._shown = outputs
        return shown

    def port(self, name: str, direction: Literal["in", "out"] | None = None) -> Port:
        """Raises PortError when the model has no such port."""
        port = self.ports.get(name)
        if port is None or (direction and port.direction != direction):
            kind = {"in": "input", "out": "output", None: "port"}[direction]
            known = ", ".join(
                p.name for p in self.ports.values() if direction in (None, p.direction)
            )
            raise PortError(f"the model has no {kind} {name!r}; it has {known}")
        return port

    @property
    def log(self) -> str:
        """The beginning of what the model printed."""
        text: bytes = self._library.haltere_player_log(self._handle)
        return text.decode(errors="replace").strip()

    def trace(self, path: Path) -> None:
        """Write a VCD waveform from now on, time n after n more rows; complete after `close`."""
        if not self._library.haltere_player_trace(self._handle, str(path.resolve()).encode()):
            raise PortError(
                f"no waveform {path}: build with trace=True, start it once, in a folder that exists"
            )

    def close(self) -> None:
        """Idempotent."""
        if self._handle:
            self._library.haltere_player_destroy(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def place(words: NDArray[np.uint32], port: Port, value: int) -> None:
    """Write `value` at a port's place in a row."""
    if not 0 <= value < 1 << port.width:
        raise PortError(f"{port.name} has {port.width} bits; {value:#x} does not fit")
    data = value.to_bytes(port.words * 4, "little")
    words[port.first : port.first + port.words] = np.frombuffer(data, np.uint32)


def _words(ports: Mapping[str, Port], direction: str) -> int:
    return sum(port.words for port in ports.values() if port.direction == direction)


@lru_cache(maxsize=256)  # a library is never unloaded
def _load(path: Path) -> tuple[ctypes.CDLL, Mapping[str, Port]]:
    library = ctypes.CDLL(str(path))
    library.haltere_player_abi.restype = ctypes.c_uint32
    if library.haltere_player_abi() != ABI_VERSION:
        raise ModelFault(f"{path}: C ABI {library.haltere_player_abi()}, not {ABI_VERSION}")
    handle, u32, u64, data = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_char_p
    signatures: dict[str, tuple[object, list[object]]] = {
        "haltere_player_ports": (data, []),
        "haltere_player_create": (handle, [u32]),
        "haltere_player_destroy": (None, [handle]),
        "haltere_player_play": (
            u64,
            [handle, handle, u32, handle, u32, u64, u32, u32, u32, handle],
        ),
        "haltere_player_stopped": (u32, [handle]),
        "haltere_player_go_on": (None, [handle]),
        "haltere_player_log": (data, [handle]),
        "haltere_player_trace": (u32, [handle, data]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    ports: dict[str, Port] = {}
    for line in library.haltere_player_ports().decode().splitlines():
        direction, first, width, last, name = line.split(" ", 4)
        ports[name] = Port(name, direction, int(width), int(first), last == "1")
    return library, MappingProxyType(ports)
