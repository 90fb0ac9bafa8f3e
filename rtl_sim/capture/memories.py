"""The memories of an emitted top, walked word by word through the state port.

Writing, the state port shares a write port of the memory: address, data and enable are chosen by
`sp_run`, so that no memory gets another port in hardware. Reading, it has a port of its own:
sharing one would put `sp_run` before every address and with it before all logic behind the
memory, which a simulator then evaluates twice a cycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from rtl_sim.capture.domains import Domains
from rtl_sim.capture.logic import index
from rtl_sim.capture.netlist import Bit, Bits, Cell
from rtl_sim.capture.scope import Scope, identifier
from rtl_sim.capture.state import Memory


@dataclass(frozen=True, slots=True)
class _WritePort:
    address: Bits
    data: Bits
    enable: Bits
    clock: Bit
    rising: bool

    def lanes(self) -> Iterator[tuple[int, int, Bit]]:
        """(low, width, enable) of each run of bits under one enable."""
        low = 0
        for enable, run in groupby(self.enable):
            width = len(list(run))
            if enable != "0":
                yield low, width, enable
            low += width

    @property
    def fixed(self) -> bool:
        return all(isinstance(bit, str) for bit in self.address)


def emit(
    memories: Sequence[Memory], arrays: Mapping[str, str], scope: Scope, domains: Domains
) -> Iterator[str]:
    for number, memory in enumerate(memories):
        yield from _writes(number, memory, identifier(arrays[memory.cell.name]), scope, domains)
    if not memories:
        yield "  always @* sp_mrd = 0;"
        return
    yield "  always @* begin"
    yield "    sp_mrd = 0;"
    yield "    if (!sp_run)"
    yield "      case (sp_msel)"
    for number, memory in enumerate(memories):
        array = identifier(arrays[memory.cell.name])
        yield f"        16'd{number}: sp_mrd = {array}[{_walked(memory)}];"
    yield "        default: sp_mrd = 0;"
    yield "      endcase"
    yield "  end"


def collisions(memory: Memory) -> Iterator[tuple[int, int]]:
    """Pairs of write ports whose order the RTL leaves open when both write one word."""
    ports = _write_ports(memory.cell)
    mask = memory.cell.params["WR_PRIORITY_MASK"][::-1].ljust(len(ports) ** 2, "0")
    for later, port in enumerate(ports):
        for earlier, other in enumerate(ports[:later]):
            apart = port.fixed and other.fixed and port.address != other.address
            if not apart and mask[later * len(ports) + earlier] != "1":
                yield earlier, later


def _writes(
    number: int, memory: Memory, array: str, scope: Scope, domains: Domains
) -> Iterator[str]:
    ports = _write_ports(memory.cell)
    shared = next((place for place, port in enumerate(ports) if not port.fixed), None)
    walked = f"sp_mwe && sp_msel == 16'd{number}"
    edge = ""
    for place, port in enumerate(ports):
        if edge != domains.edge(port.clock, port.rising):
            if edge:
                yield "  end"
            edge = domains.edge(port.clock, port.rising)
            yield f"  always @({edge}) begin"
        address = index(port.address, scope)
        for low, width, enable in port.lanes():
            part = "" if width == memory.width else f"[{low + width - 1}:{low}]"
            data, condition = scope.render(port.data[low : low + width]), scope.render((enable,))
            if place == shared:
                yield (
                    f"    if (sp_run ? {condition} : {walked}) "
                    f"{array}[sp_run ? {address} : {_walked(memory)}]{part} <= "
                    f"sp_run ? {data} : sp_mwd[{low + width - 1}:{low}];"
                )
            else:
                yield f"    if (sp_run && {condition}) {array}[{address}]{part} <= {data};"
    covered = sum(width for _, width, _ in ports[shared].lanes()) if shared is not None else 0
    if covered < memory.width:
        yield (
            f"    if (!sp_run && {walked}) "
            f"{array}[{_walked(memory)}] <= sp_mwd[{memory.width - 1}:0];"
        )
    yield "  end"


def _write_ports(cell: Cell) -> list[_WritePort]:
    address_bits, width = cell.number("ABITS"), cell.number("WIDTH")
    return [
        _WritePort(
            cell.pins["WR_ADDR"][port * address_bits : (port + 1) * address_bits],
            cell.pins["WR_DATA"][port * width : (port + 1) * width],
            cell.pins["WR_EN"][port * width : (port + 1) * width],
            cell.pins["WR_CLK"][port],
            cell.params["WR_CLK_POLARITY"][::-1][port : port + 1] == "1",
        )
        for port in range(cell.number("WR_PORTS"))
    ]


def _walked(memory: Memory) -> str:
    """The state port's word address as an index of this memory."""
    width = max((memory.depth - 1).bit_length(), 1)
    address = f"sp_maddr[{width - 1}:0]" if width > 1 else "sp_maddr[0]"
    return f"{memory.offset} + {address}" if memory.offset else address
