"""Recurrent layers: the chains of a step (recurrent.py says which), in a loop over time.

The input of the next step is read, and its products stand in the matrix unit's queue, before the
state is there: they are done while the state drains through the pipe. What is read after the last
step is not used.
"""

from __future__ import annotations

from compiler.targets.npu.blocks import Matrix, Recurrent
from compiler.targets.npu.chains import Chains, moved
from compiler.targets.npu.emit import Columns, Walk
from compiler.targets.npu.memory import Place
from rtl_sim.model.npu_formats import native_count
from rtl_sim.spec.npu import Mem, Op

Operation = tuple[Op, Walk | None]


def lower_recurrent(chains: Chains, item: Recurrent, temporaries: dict[str, Place]) -> None:
    _Lowering(chains, item, temporaries).run()


class _Lowering:
    def __init__(self, chains: Chains, item: Recurrent, places: dict[str, Place]) -> None:
        self.chains, self.item, self.places = chains, item, places
        self.emitter = chains.emitter
        config = chains.config
        self.size = native_count(config, item.hidden)
        tail = -(-(item.hidden - (self.size - 1) * config.n) // config.lanes)
        self.columns = Columns(self.size, 1, 1, 0, 0, tail)
        # the state lies in a place of its own, or in the results' row of the step before
        y = chains.plan.homes.get((item.y or "", Mem.IVRF))
        if y:
            self.old = Walk(Mem.IVRF, y.base - self.size, 0, self.size)
            self.new = Walk(Mem.IVRF, y.base, 0, self.size)
            self.last = Place(Mem.IVRF, y.base + (item.x.rows - 1) * self.size)
        else:
            self.old = self.new = self._walk("h")
            self.last = places["h"]
        sinks = chains.sinks(item.y)
        self.results = [
            Walk(place.mem, place.base, 0, self.size) for place in sinks if place.mem != Mem.IVRF
        ]

    def run(self) -> None:
        item, chains = self.item, self.chains
        state = [Place(Mem.IVRF, self.old.base)]
        if "h*" in self.places:
            state.append(self.places["h*"])
        chains.copy(chains.source(item.h0), state, self.size)
        if item.op == "lstm":
            chains.copy(chains.source(item.c0), [self.places["c"]], self.size)
        x = self.places.get("x")
        if x:
            chains.copy(chains.source(item.x.store), [x], item.x.row_vectors)
        chains.load_pending()
        self.emitter.loop("inner", item.x.rows, self._step)
        for place, store in ((self.last, item.y_h), (self.places.get("c"), item.y_c)):
            sinks = chains.sinks(store)
            if place and sinks:
                chains.copy(place, sinks, self.size)

    def _step(self) -> None:
        self._input()
        {"rnn": self._rnn, "lstm": self._lstm, "gru": self._gru}[self.item.op]()

    def _walk(self, role: str, vectors: int = 0) -> Walk:
        return Walk(self.places[role].mem, self.places[role].base + vectors)

    def _pre(self, gate: int) -> Operation:
        """Add the input's part, of the gate at that place in the order of the chains."""
        return Op.VV_ADD, self._walk("pre", gate * self.size)

    # ---- chains

    def _input(self) -> None:
        item, chains = self.item, self.chains
        width = item.x.row_vectors
        x = self.places.get("x")
        if x:
            source = Walk(x.mem, x.base)
        else:
            home = chains.plan.homes[item.x.store, Mem.IVRF]
            source = Walk(home.mem, home.base, 0, width)
        bias = chains.plan.consts[item.bias] if item.bias else None
        operations: list[Operation] = [(Op.VV_ADD, Walk(bias.mem, bias.base))] if bias else []
        columns = chains.columns(item.x, None)
        self._product(item.input, source, columns, operations, [self._walk("pre")])
        if x and item.x.rows > 1:
            ahead = chains.source(item.x.store)
            self.emitter.rows(width)
            self.emitter.read(Walk(ahead.mem, ahead.base + width, 0, width))
            self.emitter.write(Walk(x.mem, x.base))
            self.emitter.end()

    def _rnn(self) -> None:
        operations = [self._pre(0), (self.item.activation, None)]
        self._state_product(0, operations)

    def _lstm(self) -> None:
        """The last chain waits for the two before it, which wait for nothing but the state."""
        io, c, kept = self._walk("io"), self._walk("c"), self._walk("kept")
        state, sigm = self.item.state, (Op.V_SIGM, None)
        self._product(state[0], self.old, self.columns, [self._pre(0), sigm], [io])
        forget = [self._pre(2), sigm, (Op.VV_MUL, c)]
        self._product(state[1], self.old, self.columns, forget, [kept])
        before = [self._pre(3), (Op.V_TANH, None), (Op.VV_MUL, io), (Op.VV_ADD, kept)]
        after = [(Op.V_TANH, None), (Op.VV_MUL, self._walk("io", self.size))]
        self._state_product(2, [*before, (Op.V_WR, c), *after])

    def _gru(self) -> None:
        item, state, n = self.item, self.item.state, self._walk("n")
        sigm: Operation = (Op.V_SIGM, None)
        tanh: Operation = (Op.V_TANH, None)
        if item.reset_first:
            z = self._walk("z")
            reset = [self._pre(0), sigm, (Op.VV_MUL, self._walk("h*"))]
            self._product(state[0], self.old, self.columns, reset, [self._walk("rh")])
            self._product(state[1], self.old, self.columns, [self._pre(1), sigm], [z])
            self._product(state[2], self._walk("rh"), self.columns, [self._pre(2), tanh], [n])
        else:
            z, r = self._walk("zr"), self._walk("zr", self.size)
            self._product(state[0], self.old, self.columns, [self._pre(0), sigm], [z])
            bias = self.chains.plan.consts[item.state_bias] if item.state_bias else None
            new: list[Operation] = [(Op.VV_ADD, Walk(bias.mem, bias.base))] if bias else []
            new += [(Op.VV_MUL, r), self._pre(2), tanh]
            self._product(state[1], self.old, self.columns, new, [n])
        self.emitter.rows(self.size)
        self.emitter.read(self.old)
        for op, operand in ((Op.VV_A_SUB_B, n), (Op.VV_MUL, z), (Op.VV_ADD, n)):
            self.emitter.operate(op, operand)
        kept = [self.new]
        if item.reset_first:
            kept.append(self._walk("h*"))
        self._end(kept)

    # ---- parts of chains

    def _product(
        self,
        matrix: Matrix,
        source: Walk,
        columns: Columns,
        operations: list[Operation],
        sinks: list[Walk],
    ) -> None:
        for part in self.chains.parts(matrix):
            self.emitter.product(source, columns, part.rows, part.tiles)
            for op, operand in operations:
                self.emitter.operate(op, operand and moved(operand, part.first))
            for sink in sinks:
                self.emitter.write(moved(sink, part.first))
            self.emitter.end()

    def _state_product(self, index: int, operations: list[Operation]) -> None:
        """The product that ends a step: its result is the state."""
        kept = self._walk("new") if "new" in self.places else self.new
        direct = [walk for walk in self.results if walk.mem is Mem.OUTPUT]
        later = [walk for walk in self.results if walk.mem is not Mem.OUTPUT]
        matrix = self.item.state[index]
        self._product(matrix, self.old, self.columns, operations, [kept, *direct])
        if kept is not self.new:
            later.append(self.new)
        self._copied(kept, later)

    def _end(self, kept: list[Walk]) -> None:
        """End the chain that carries the state: to the state, and to the results."""
        taken = {walk.mem for walk in kept}
        now = [walk for walk in self.results if walk.mem not in taken]
        later = [walk for walk in self.results if walk.mem in taken]
        self._write([*kept, *now])
        self._copied(self.new, later)

    def _copied(self, source: Walk, sinks: list[Walk]) -> None:
        if sinks:
            self.emitter.rows(self.size)
            self.emitter.read(source)
            self._write(sinks)

    def _write(self, walks: list[Walk]) -> None:
        for walk in walks:
            self.emitter.write(walk)
        self.emitter.end()
