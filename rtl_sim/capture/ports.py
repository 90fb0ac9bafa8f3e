"""The ports of a `$mem_v2` cell, taken apart: Yosys keeps them as slices of wide pins.

A port of several words (`RD_WIDE_CONTINUATION`, `WR_WIDE_CONTINUATION`) has a whole slice for each
word, address, enable, resets and priorities included: it is read as so many ports of one word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from rtl_sim.capture.netlist import Bit, Bits, Cell


@dataclass(frozen=True, slots=True)
class ReadPort:
    """A read port; one with a clock holds a register, which the other fields describe.

    Where the register is reset in the cycle it is enabled, reset wins; `enable_first`: only then.
    """

    number: int
    address: Bits
    data: Bits
    clock: Bit = ""  # "": read asynchronously
    rising: bool = True
    enable: Bit = "1"
    sync_reset: Bit = "0"
    sync_value: str = ""
    async_reset: Bit = "0"
    async_value: str = ""
    initial: str = ""
    enable_first: bool = False
    transparent: tuple[int, ...] = ()  # write ports whose data a read of the same word returns


@dataclass(frozen=True, slots=True)
class WritePort:
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
        return is_fixed(self.address)


def is_fixed(address: Bits) -> bool:
    return all(isinstance(bit, str) for bit in address)


def read_ports(cell: Cell) -> list[ReadPort]:
    count, address_bits = cell.number("RD_PORTS"), cell.number("ABITS")
    width, writers = cell.number("WIDTH"), cell.number("WR_PORTS")
    return [_read_port(cell, number, address_bits, width, writers) for number in range(count)]


def _read_port(cell: Cell, number: int, address_bits: int, width: int, writers: int) -> ReadPort:
    address = cell.pins["RD_ADDR"][number * address_bits : (number + 1) * address_bits]
    data = cell.pins["RD_DATA"][number * width : (number + 1) * width]
    if not _flag(cell, "RD_CLK_ENABLE", number):
        return ReadPort(number, address, data)
    return ReadPort(
        number,
        address,
        data,
        clock=cell.pins["RD_CLK"][number],
        rising=_flag(cell, "RD_CLK_POLARITY", number),
        enable=cell.pins["RD_EN"][number],
        sync_reset=cell.pins["RD_SRST"][number],
        sync_value=_value(cell, "RD_SRST_VALUE", number, width),
        async_reset=cell.pins["RD_ARST"][number],
        async_value=_value(cell, "RD_ARST_VALUE", number, width),
        initial=_value(cell, "RD_INIT_VALUE", number, width),
        enable_first=_flag(cell, "RD_CE_OVER_SRST", number),
        transparent=tuple(
            writer
            for writer in range(writers)
            if _flag(cell, "RD_TRANSPARENCY_MASK", number * writers + writer)
        ),
    )


def write_ports(cell: Cell) -> list[WritePort]:
    address_bits, width = cell.number("ABITS"), cell.number("WIDTH")
    return [
        WritePort(
            cell.pins["WR_ADDR"][port * address_bits : (port + 1) * address_bits],
            cell.pins["WR_DATA"][port * width : (port + 1) * width],
            cell.pins["WR_EN"][port * width : (port + 1) * width],
            cell.pins["WR_CLK"][port],
            _flag(cell, "WR_CLK_POLARITY", port),
        )
        for port in range(cell.number("WR_PORTS"))
    ]


def beats(cell: Cell, later: int, earlier: int) -> bool:
    """Whether write port `later` is known to win over `earlier` at one word."""
    return _flag(cell, "WR_PRIORITY_MASK", later * cell.number("WR_PORTS") + earlier)


def _flag(cell: Cell, param: str, index: int) -> bool:
    return cell.params[param][::-1][index : index + 1] == "1"


def _value(cell: Cell, param: str, number: int, width: int) -> str:
    """The port's bits of a parameter, most significant first."""
    return cell.params[param][::-1][number * width : (number + 1) * width][::-1]
