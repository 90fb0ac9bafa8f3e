"""A module with state, ready to be written: its state and the chain through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rtl_sim.capture import links, state, sums
from rtl_sim.capture.banks import with_banks
from rtl_sim.capture.chain import Chain, place
from rtl_sim.capture.clocks import Clocks
from rtl_sim.capture.netlist import Module
from rtl_sim.capture.options import Options
from rtl_sim.capture.prepare import REGISTER_KINDS, prepare
from rtl_sim.capture.readregs import with_shadows
from rtl_sim.capture.state import State
from rtl_sim.capture.updates import Choices


@dataclass(frozen=True, slots=True)
class Part:
    module: Module
    state: State
    chain: Chain
    clocks: Clocks
    late: frozenset[str] = frozenset()  # registers that are clocks and assigned by `=` (`races.py`)


def make(modules: Mapping[str, Module], name: str, clocks: Clocks, options: Options) -> Part:
    """Find the state of a flat module and lay its chain; ROMs are looked for in all `modules`."""
    module = prepare(modules[name])
    found = state.extract({**modules, name: module}, name)
    found = with_banks(found, module)
    found = with_shadows(found, module, options.read_registers == "shadow")
    adders = sums.find(module, Choices(module, REGISTER_KINDS), found.registers)
    chain = place(
        found.registers, options.lanes, links.find(module, found.registers, adders), found.runs
    )
    return Part(module, found, chain, clocks)
