"""Where the registers of synchronous read ports are kept: in their memory, or on the chain.

Restored through the memory they cost nothing but a choice of addresses. That needs a memory that
can be written; a ROM cannot. A ROM too small for block RAM gives its register back: it is an
ordinary flip-flop then. A larger one keeps it, and a *shadow* on the chain stands for it: a copy
that is taken at the idle edge, and that the design sees until the port's first functional update.
So has that of a port that reads one word for ever: the state port cannot lead it to another.
With the style "shadow" every read register has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rtl_sim.capture.cells import BLOCK_ROM_BITS
from rtl_sim.capture.netlist import Bit, Bits, Cell, Module
from rtl_sim.capture.ports import ReadPort, is_fixed, read_ports
from rtl_sim.capture.state import ReadRegister, Register, State


def with_shadows(state: State, module: Module, everywhere: bool) -> State:
    """Put shadows on the chain: of ROMs' read registers, or of all."""
    fresh = _highest(module) + 1
    registers, reads = list(state.registers), []
    for register in state.read_registers:
        reached = register.memory is not None and not is_fixed(register.port.address)
        if reached and not everywhere:
            reads.append(register)
            continue
        q = tuple(range(fresh, fresh + register.width))
        fresh += register.width
        reads.append(replace(register, shadow=q))
        registers.append(_shadow(register, q))
    registers.sort(key=lambda register: register.bits[0])
    return replace(state, registers=tuple(registers), read_registers=tuple(reads))


def _shadow(register: ReadRegister, q: Bits) -> Register:
    name = f"shadow of {register.label}"
    pins: dict[str, Bits] = {"CLK": (register.port.clock,), "D": q, "Q": q}
    cell = Cell(name, "$dff", {"CLK_POLARITY": "1"}, pins, ("Q",), register.cell.source)
    return Register(cell, register.bits, None, whole=False, idle=register.port.data)


def release_small_roms(module: Module) -> Module:
    """Registers of ROMs that no synthesis makes block RAM of become flip-flops again."""
    fresh = _highest(module) + 1
    cells: list[Cell] = []
    for cell in module.cells:
        small = (
            cell.kind == "$mem_v2"
            and not cell.number("WR_PORTS")
            and cell.number("WIDTH") * cell.number("SIZE") < BLOCK_ROM_BITS
        )
        if not small or not any(port.clock for port in read_ports(cell)):
            cells.append(cell)
            continue
        data: list[Bit] = []
        for port in read_ports(cell):
            if not port.clock:
                data += port.data
                continue
            made = list(_register(cell, port, fresh))
            fresh += sum(len(part.pins[part.outputs[0]]) for part in made[:-1]) + len(port.data)
            cells += made
            data += made[-1].pins["RAW"]
            cells[-1] = replace(
                made[-1], pins={k: v for k, v in made[-1].pins.items() if k != "RAW"}
            )
        params = {**cell.params, "RD_CLK_ENABLE": "0" * cell.number("RD_PORTS")}
        cells.append(replace(cell, params=params, pins={**cell.pins, "RD_DATA": tuple(data)}))
    return replace(module, cells=tuple(cells))


def _register(cell: Cell, port: ReadPort, fresh: int) -> Iterator[Cell]:
    """Multiplexers for enable and reset, then the flip-flops; their pin RAW is the word read."""
    width = len(port.data)
    raw: Bits = tuple(range(fresh, fresh + width))
    word = raw

    def choose(select: Bit, chosen: Bits, other: Bits) -> Cell:
        nonlocal fresh
        fresh += width
        pins = {"A": other, "B": chosen, "S": (select,), "Y": tuple(range(fresh, fresh + width))}
        name = f"{cell.name} {port.number} {fresh}"
        return Cell(name, "$mux", {"WIDTH": f"{width:b}"}, pins, ("Y",), cell.source)

    reset = tuple("1" if bit == "1" else "0" for bit in port.sync_value[::-1])
    steps: list[tuple[Bit, Bits | None]] = [(port.enable, None), (port.sync_reset, reset)]
    for select, value in steps[::-1] if port.enable_first else steps:
        if select == ("1" if value is None else "0"):
            continue
        mux = choose(select, word, port.data) if value is None else choose(select, value, word)
        word = mux.pins["Y"]
        yield mux
    pins = {"CLK": (port.clock,), "D": word, "Q": port.data, "RAW": raw}
    params = {"CLK_POLARITY": str(int(port.rising)), "WIDTH": f"{width:b}"}
    if port.initial.strip("x"):
        params["INIT"] = port.initial
    kind = "$dff"
    if port.async_reset != "0":
        kind = "$adff"
        pins["ARST"] = (port.async_reset,)
        params |= {"ARST_POLARITY": "1", "ARST_VALUE": port.async_value}
    yield Cell(f"{cell.name} {port.number}", kind, params, pins, ("Q",), cell.source)


def _highest(module: Module) -> int:
    pins = [bits for cell in module.cells for bits in cell.pins.values()]
    pins += [port.bits for port in module.ports] + [net.bits for net in module.nets]
    return max((bit for bits in pins for bit in bits if isinstance(bit, int)), default=0)
