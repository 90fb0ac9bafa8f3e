"""The memories of an emitted top, walked word by word through the state port.

The state port gets no port of its own at a memory, which would cost a copy of it on a board:

- It writes through a write port of the memory: address, data and enable are chosen by `sp_run`.
- It reads through a synchronous read port. The port stays what it is, so that synthesis infers the
  same block RAM: its address and enable are chosen by `sp_run`, its reset is masked. Ports that
  share an address keep sharing it, since a block RAM has one address for both.
- A memory that is read asynchronously alone is read through one of these ports. Choosing its
  address by `sp_run` would put an input before all logic behind the memory, which a simulator then
  evaluates twice a cycle. So that address, `sp_at`, is a register, and so is the choice, `sp_walk`,
  which `sp_run` clears: they cost a handful of flip-flops in the whole design.
- What has no port to be read through (banks are such) is shown by a multiplexer under `sp_at`.

Simulators see `sp_run` in clocked processes only.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from itertools import groupby
from typing import Final

from rtl_sim.capture.banks import Banks
from rtl_sim.capture.domains import Domains
from rtl_sim.capture.logic import index
from rtl_sim.capture.netlist import Bits, Cell
from rtl_sim.capture.ports import ReadPort, WritePort, beats, is_fixed, read_ports, write_ports
from rtl_sim.capture.scope import Scope, constant, identifier, slice_of, span
from rtl_sim.capture.state import Memory, ReadRegister, State
from rtl_sim.capture.updates import under

WALK: Final = "sp_walk"
WALKED_ADDRESS: Final = "sp_at"


class Memories:
    """`arrays`: memory or ROM cell's name -> array variable."""

    def __init__(
        self,
        state: State,
        arrays: Mapping[str, str],
        scope: Scope,
        domains: Domains,
        banks: Banks,
    ) -> None:
        self._state, self._arrays, self._scope = state, arrays, scope
        self._domains, self._banks = domains, banks
        self._walked = {
            memory.cell.name: port
            for memory in state.memories
            if (port := walked_port(memory.cell)) is not None
        }
        self._reached: dict[str, str] = {}
        # The register of each synchronous port, under its name unless a shadow stands before it.
        self._registers: dict[int, str] = {}
        self._seen: dict[int, str] = {}
        for number, register in enumerate(state.read_registers):
            if register.shadow:
                self._seen[number] = scope.declare(register.port.data, register.label)
                self._registers[number] = scope.reserve(f"{register.label}$ram")
            else:
                self._registers[number] = scope.declare(register.port.data, register.label)

    def asynchronous_walks(self) -> dict[Bits, str]:
        """Data of each asynchronous port that is walked -> what stands before its address."""
        scalar = walk_address_bits(self._state) == 1
        return {
            port.data: f"{WALK} ? {_word(memory, WALKED_ADDRESS, scalar)} : "
            for memory in self._state.memories
            if (port := self._walked.get(memory.cell.name)) is not None and not port.clock
        }

    def declare(self) -> Iterator[str]:
        for number, register in enumerate(self._state.read_registers):
            init = register.port.initial
            value = f" = {constant(init)}" if init.strip("x") else ""
            yield f"  reg {span(register.width)}{identifier(self._registers[number])}{value};"
            if number in self._seen:
                yield f"  wire {span(register.width)}{identifier(self._seen[number])};"
        if _muxed_walks(self._state):
            yield f"  reg {WALK};"
        if width := walk_address_bits(self._state):
            yield f"  reg {span(width)}{WALKED_ADDRESS};"

    def emit(self) -> Iterator[str]:
        yield from self._scope.mark("")
        if _muxed_walks(self._state):
            yield f"  always @(posedge {self._domains.primary} or posedge sp_run)"
            yield f"    if (sp_run) {WALK} <= 0; else {WALK} <= sp_mre;"
        if width := walk_address_bits(self._state):
            source = f"sp_maddr[{width - 1}:0]" if width > 1 else "sp_maddr[0]"
            edge = f"posedge {self._domains.primary}"
            yield f"  always @({edge}) if (sp_mre) {WALKED_ADDRESS} <= {source};"
        for memory in self._state.memories:
            yield from self._scope.mark(memory.name)
            yield from self._writes(memory)
        for number, register in enumerate(self._state.read_registers):
            yield from self._scope.mark(register.cell.params["MEMID"].removeprefix("\\"))
            yield from self._read(number, register)
            if register.shadow:
                yield from self._shadow(number, register)

    def _muxed(self, memory: Memory) -> frozenset[Bits]:
        """Addresses of this memory that the state port takes over while frozen."""
        synchronous = {p.address for p in read_ports(memory.cell) if p.clock}
        synchronous.update(write_ports(memory.cell)[n].address for n in shared_ports(memory.cell))
        return frozenset(address for address in synchronous if not is_fixed(address))

    def _address(self, memory: Memory, address: Bits) -> str:
        text = index(address, self._scope)
        if address not in self._muxed(memory):
            return text
        return f"(sp_run ? {text} : {_word(memory, 'sp_maddr')})"

    def _write(self, memory: Memory, port: WritePort, shared: bool) -> Iterator[tuple[str, ...]]:
        """(condition, address, part, data) of each lane of a port."""
        address = self._address(memory, port.address)
        selected = f"sp_mwe && sp_msel == 16'd{memory.index}"
        for low, width, enable in port.lanes():
            part = "" if width == memory.width else f"[{low + width - 1}:{low}]"
            data = self._scope.render(port.data[low : low + width])
            condition = self._scope.render((enable,))
            if shared:
                data = f"(sp_run ? {data} : {self._given(low, width)})"
                yield f"(sp_run ? {condition} : {selected})", address, part, data
            else:
                yield f"sp_run && {condition}", address, part, data

    def _given(self, low: int, width: int) -> str:
        """What the state port writes, or a part of it."""
        return slice_of("sp_mwd", self._state.memory_width, low, width)

    def _writes(self, memory: Memory) -> Iterator[str]:
        ports = write_ports(memory.cell)
        shared = shared_ports(memory.cell)
        array = identifier(self._arrays[memory.cell.name])
        processes: dict[str, list[str]] = {}
        for number, port in enumerate(ports):
            lines = processes.setdefault(self._domains.edge(port.clock, port.rising), [])
            for condition, address, part, data in self._write(memory, port, number in shared):
                lines.append(f"if ({condition}) {array}[{address}]{part} <= {data};")
        home = ports[min(shared)] if shared else ports[0]
        lines = processes[self._domains.edge(home.clock, home.rising)]
        lines += self._unwritten(memory, array, home.address if shared else ())
        for edge, statements in processes.items():
            yield f"  always @({edge}) begin"
            yield from (f"    {line}" for line in statements)
            yield "  end"

    def _unwritten(self, memory: Memory, array: str, address: Bits) -> Iterator[str]:
        """Writes, while frozen alone, of bits that the shared ports do not have."""
        ports, shared = write_ports(memory.cell), shared_ports(memory.cell)
        written = [any(ports[n].enable[bit] != "0" for n in shared) for bit in range(memory.width)]
        text = self._address(memory, address) if address else _word(memory, "sp_maddr")
        low = 0
        for covered, run in groupby(written):
            width = len(list(run))
            if not covered:
                part = "" if width == memory.width else f"[{low + width - 1}:{low}]"
                yield (
                    f"if (!sp_run && sp_mwe && sp_msel == 16'd{memory.index}) "
                    f"{array}[{text}]{part} <= {self._given(low, width)};"
                )
            low += width

    def _read(self, number: int, register: ReadRegister) -> Iterator[str]:
        port, scope = register.port, self._scope
        name = identifier(self._registers[number])
        array = identifier(self._arrays[register.cell.name])
        enable = scope.render((port.enable,))
        if register.memory is None:  # a ROM: nothing is asked of it while frozen
            address, condition = index(port.address, scope), f"sp_run && {enable}"
        else:
            memory = self._state.memories[register.memory]
            address = self._address(memory, port.address)
            condition = f"(sp_run ? {enable} : sp_mre && {self._selected(number, register)})"
        lead = yield from self._process(port, f"{name} <= {constant(port.async_value)}")
        resets = port.sync_reset != "0"
        clear = f"sp_run && {scope.render((port.sync_reset,))}"
        value = f"{name} <= {constant(port.sync_value)};"
        if resets and not port.enable_first:
            yield f"    {lead} ({clear}) {value}"
            lead = "else if"
        yield f"    {lead} ({condition}) begin"
        if resets and port.enable_first:
            yield f"      if ({clear}) {value} else begin"
        yield f"      {name} <= {array}[{address}];"
        yield from self._bypasses(register, name, address)
        if resets and port.enable_first:
            yield "      end"
        yield "    end"

    def _process(self, port: ReadPort, reset: str) -> Generator[str, None, str]:
        """The head of a process at the port's clock, in which its asynchronous reset does `reset`.

        Returns what the next branch begins with.
        """
        edge = self._domains.edge(port.clock, port.rising)
        if port.async_reset == "0":
            yield f"  always @({edge})"
            return "if"
        name = identifier(self._scope.reserve("sp_arst"))
        yield f"  wire {name} = sp_run && {self._scope.render((port.async_reset,))};"
        yield f"  always @({edge} or posedge {name})"
        yield f"    if ({name}) {reset};"
        return "else if"

    def _bypasses(self, register: ReadRegister, name: str, address: str) -> Iterator[str]:
        """Write-first ports: what is being written to the word that is read."""
        if register.memory is None:
            return
        memory = self._state.memories[register.memory]
        shared = shared_ports(memory.cell)
        for number in register.port.transparent:
            port = write_ports(memory.cell)[number]
            for condition, target, part, data in self._write(memory, port, number in shared):
                same = "" if target == address else f" && {target} == {address}"
                yield f"      if ({condition}{same}) {name}{part} <= {data};"

    def _selected(self, number: int, register: ReadRegister) -> str:
        selects = []
        if register.port == self._walked.get(register.cell.name):
            selects.append(f"sp_msel == 16'd{register.memory}")
        if not register.shadow:
            selects.append(f"sp_msel == 16'd{self._state.select(number)}")
        return f"({' || '.join(selects)})" if selects else "0"

    def _shadow(self, number: int, register: ReadRegister) -> Iterator[str]:
        """What the design sees is the shadow from the idle edge to the first functional update."""
        port, scope = register.port, self._scope
        use = identifier(scope.reserve(f"{register.label}$use"))
        updates = [scope.render((bit,)) for bit in (port.enable, port.sync_reset) if bit != "0"]
        if port.enable_first:
            updates = updates[:1]
        seen, shadow = scope.render(port.data), scope.render(register.shadow)
        yield f"  reg {use} = 0;"
        yield f"  assign {seen} = {use} ? {shadow} : {identifier(self._registers[number])};"
        lead = yield from self._process(port, f"{use} <= 0")
        yield f"    {lead} (!sp_run) {use} <= 1;"
        yield f"    else if ({' || '.join(updates) or '0'}) {use} <= 0;"

    def reached(self) -> Iterator[str]:
        """Of memories in modules of their own: the word that `shown` reads without a port."""
        for memory in self._state.memories if self._scope.owners.paths else ():
            if self._walked.get(memory.cell.name) is None:
                name = self._scope.reserve(f"{memory.name}$shown")
                yield from self._scope.mark(memory.name)
                word = self._direct(memory)
                yield f"  wire {span(memory.width)}{identifier(name)} = {word};"
                self._reached[memory.cell.name] = identifier(name)

    def _direct(self, memory: Memory) -> str:
        scalar = walk_address_bits(self._state) == 1
        array = identifier(self._arrays[memory.cell.name])
        return f"{array}[{_word(memory, WALKED_ADDRESS, scalar)}]"

    def shown(self) -> Iterator[str]:
        """`sp_mrd`: what is selected."""
        cases: list[tuple[int, list[str]]] = list(self._banks.shown(WALKED_ADDRESS))
        for memory in self._state.memories:
            port = self._walked.get(memory.cell.name)
            if port is None:
                shown = self._reached.get(memory.cell.name) or self._direct(memory)
            elif port.clock:
                number = next(n for n, r in enumerate(self._state.read_registers) if r.port == port)
                shown = identifier(self._registers[number])
            else:
                shown = self._scope.render(port.data)
            cases.append((memory.index, [f"sp_mrd = {shown};"]))
        for number, register in enumerate(self._state.read_registers):
            if not register.shadow:
                shown = identifier(self._registers[number])
                cases.append((self._state.select(number), [f"sp_mrd = {shown};"]))
        if not cases:
            yield "sp_mrd = 0;"
            return
        # While nothing is selected it means nothing, for which synthesis pays nothing.
        nothing = f"{self._state.memory_width}'bx"
        # Of the select no more than is needed: so synthesis makes a multiplexer with an index.
        bits = max((len(cases) - 1).bit_length(), 1)
        yield f"case (sp_msel[{bits - 1}:0])"
        for select, lines in sorted(cases):
            yield from (f"  {line}" for line in under(f"{bits}'d{select}:", lines))
        yield f"  default: sp_mrd = {nothing};"
        yield "endcase"


def walked_port(cell: Cell) -> ReadPort | None:
    """The read port that the state port walks the memory through; None: it needs one of its own."""
    ports = [port for port in read_ports(cell) if not is_fixed(port.address)]
    return min(ports, key=lambda port: (not port.clock, port.number), default=None)


def shared_ports(cell: Cell) -> frozenset[int]:
    """The write ports that the state port writes through: all of one address (bytes of a word are
    written by ports of their own), and if it can be one that no read port has, so that reading and
    writing stay apart."""
    reads = {port.address for port in read_ports(cell) if port.clock}
    ports = write_ports(cell)
    chosen = min(
        (number for number, port in enumerate(ports) if not port.fixed),
        key=lambda number: (ports[number].address in reads, number),
        default=None,
    )
    if chosen is None:
        return frozenset()
    address = ports[chosen].address
    return frozenset(number for number, port in enumerate(ports) if port.address == address)


def collisions(memory: Memory) -> Iterator[tuple[int, int]]:
    """Pairs of write ports whose order the RTL leaves open when both write one word."""
    ports = write_ports(memory.cell)
    for later, port in enumerate(ports):
        for earlier, other in enumerate(ports[:later]):
            apart = port.fixed and other.fixed and port.address != other.address
            bits = any(
                a != "0" and b != "0" for a, b in zip(port.enable, other.enable, strict=True)
            )
            if bits and not apart and not beats(memory.cell, later, earlier):
                yield earlier, later


def walk_bits(state: State) -> int:
    """Flip-flops that walks need."""
    return walk_address_bits(state) + bool(_muxed_walks(state))


def walk_address_bits(state: State) -> int:
    """Width of the register with the address of walks; 0: nothing needs it."""
    walked = [
        _address_bits(memory)
        for memory in state.memories
        if (port := walked_port(memory.cell)) is None or not port.clock
    ]
    return max((*walked, *(bank.address_bits for bank in state.banks)), default=0)


def _muxed_walks(state: State) -> bool:
    """Whether a memory is walked through a port that the design reads it by asynchronously."""
    ports = (walked_port(memory.cell) for memory in state.memories)
    return any(port is not None and not port.clock for port in ports)


def _address_bits(memory: Memory) -> int:
    return max((memory.depth - 1).bit_length(), 1)


def _word(memory: Memory, address: str, scalar: bool = False) -> str:
    """The state port's word address as an index of this memory."""
    width = _address_bits(memory)
    part = f"{address}[{width - 1}:0]" if width > 1 else f"{address}{'' if scalar else '[0]'}"
    return f"{memory.offset} + {part}" if memory.offset else part
