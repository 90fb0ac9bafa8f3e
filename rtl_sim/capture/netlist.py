"""A Yosys JSON netlist as values: modules, cells, nets; bits are numbers or constants.

Only this file knows the shape of the JSON. May assume a file that Yosys wrote; must not know what
the cells mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A net of the module (Yosys numbers them), or a constant "0", "1", "x", "z".
Bit = int | str
Bits = tuple[Bit, ...]  # least significant first


@dataclass(frozen=True, slots=True)
class Inside:
    """A module with state, as whoever instantiates it must know it."""

    clock: str  # the port whose rising edge clocks all of its state
    chain: tuple[tuple[str, int], ...]  # (name, bit), from the one that comes out first
    through: Mapping[str, tuple[str, ...]]  # output -> inputs that it depends on in no time


@dataclass(frozen=True, slots=True)
class Cell:
    name: str
    kind: str
    params: Mapping[str, str]
    pins: Mapping[str, Bits]
    outputs: tuple[str, ...]  # names of the pins that drive
    source: str
    inside: Inside | None = None  # of an instance whose module keeps state of its own

    def number(self, param: str) -> int:
        """A parameter as an unsigned number (Yosys writes parameters as bit strings)."""
        return int(self.params[param], 2)

    def flag(self, param: str) -> bool:
        return "1" in self.params.get(param, "")

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(pin for pin in self.pins if pin not in self.outputs)

    def passes(self, pin: str, output: str) -> bool:
        """Whether, as far as is known, `output` follows `pin` without a clock edge."""
        return self.inside is None or pin in self.inside.through[output]


@dataclass(frozen=True, slots=True)
class Port:
    name: str
    direction: str  # "input", "output", "inout"
    bits: Bits


@dataclass(frozen=True, slots=True)
class Net:
    name: str
    public: bool  # the RTL's own name, not one that Yosys made up
    bits: Bits
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Module:
    name: str
    attributes: Mapping[str, str]
    ports: tuple[Port, ...]
    cells: tuple[Cell, ...]
    nets: tuple[Net, ...]

    def port(self, name: str) -> Port | None:
        return next((port for port in self.ports if port.name == name), None)

    def place(self, cell: Cell) -> str:
        """Where the cell is, as its author would look for it."""
        outputs = {bit for pin in cell.outputs for bit in cell.pins[pin]}
        nets = sorted(
            (net.name for net in self.nets if net.public and outputs.intersection(net.bits)),
            key=lambda name: (-name.count("."), len(name), name),
        )
        what = nets[0] if nets else cell.name
        return f"{what} ({cell.source})" if cell.source else what


def read(path: Path) -> dict[str, Module]:
    """All modules of the netlist by name."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return {name: _module(name, body) for name, body in data["modules"].items()}


def _module(name: str, body: Mapping[str, Any]) -> Module:
    return Module(
        name=name,
        attributes=body.get("attributes", {}),
        ports=tuple(
            Port(port, entry["direction"], tuple(entry["bits"]))
            for port, entry in body["ports"].items()
        ),
        cells=tuple(_cell(cell, entry) for cell, entry in body["cells"].items()),
        nets=tuple(
            Net(net, not entry["hide_name"], tuple(entry["bits"]), entry.get("attributes", {}))
            for net, entry in body["netnames"].items()
        ),
    )


def _cell(name: str, entry: Mapping[str, Any]) -> Cell:
    directions = entry.get("port_directions", {})
    return Cell(
        name=name,
        kind=entry["type"],
        params=entry.get("parameters", {}),
        pins={pin: tuple(bits) for pin, bits in entry["connections"].items()},
        outputs=tuple(
            pin for pin in entry["connections"] if directions.get(pin) in ("output", "inout")
        ),
        source=entry.get("attributes", {}).get("src", ""),
    )
