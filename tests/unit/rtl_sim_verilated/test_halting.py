"""Players of captured designs: state out, in, moved between builds, and noise kept out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtl_sim.capture import Options, capture
from rtl_sim.design import Design
from rtl_sim.errors import PortError, SnapshotError
from rtl_sim.statemap import StateMap
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.halting import HaltablePlayer, build_haltable, complement, noise_state
from rtl_sim.verilated.player import Player, Rows, build_player

REGFILE = Path(__file__).parents[2] / "rtl" / "designs" / "fsm_fifo.sv"
LANES = (32, 5)

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)


@pytest.fixture(scope="module")
def original() -> Path:
    return build_player([REGFILE], "fsm_fifo")


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, StateMap]]:
    made = []
    for lanes in LANES:
        folder = tmp_path_factory.mktemp(f"lanes{lanes}")
        result = capture(Design((REGFILE,), "fsm_fifo"), folder, Options(lanes=lanes))
        state_map = StateMap.parse(result.state_map.read_bytes())
        made.append((build_haltable([result.verilog], "fsm_fifo"), state_map))
    return made


@pytest.fixture
def pair(builds: list[tuple[Path, StateMap]]) -> Iterator[list[HaltablePlayer]]:
    players = [
        HaltablePlayer(library, state_map, seed, np.random.default_rng(seed))
        for seed, (library, state_map) in enumerate(builds, 1)
    ]
    yield players
    for player in players:
        player.close()


def stimulus(player: Player | HaltablePlayer, rng: np.random.Generator, cycles: int) -> Rows:
    """Inputs change while the clock is low; it ends low."""
    values = rng.integers(0, 1 << 32, (cycles, player.in_words), dtype=np.uint32)
    values[:, player.port("rst").first] = rng.random(cycles) < 0.03
    rows = np.repeat(values, 3, axis=0)
    rows[:, player.port("clk").first] = np.tile([0, 1, 0], cycles)
    return rows


def test_it_shows_the_ports_of_the_original(original: Path, pair: list[HaltablePlayer]) -> None:
    with Player(original) as player:
        for halting in pair:
            assert dict(halting.ports) == dict(player.ports)


def test_moving_back_and_forth_changes_no_output(
    original: Path, pair: list[HaltablePlayer]
) -> None:
    rng = np.random.default_rng(7)
    noise = random.Random(7)
    here, there = pair
    with Player(original) as player:
        rows = stimulus(player, rng, 20)
        rows[:30, player.port("rst").first] = 1
        player.play(rows)
        here.play(rows)
        for _ in range(40):
            snapshot = here.save()
            there.poison(noise)
            there.load(snapshot, here.row)
            rows = stimulus(player, rng, int(rng.integers(1, 30)))
            wanted = player.play(rows)
            assert np.array_equal(there.play(rows), wanted)
            assert np.array_equal(here.play(rows), wanted), "saving changed the state"
            here, there = there, here


def test_noise_and_its_complement_read_back(pair: list[HaltablePlayer]) -> None:
    for player in pair:
        noise = noise_state(player.map, random.Random(3))
        for state in (noise, complement(noise, player.map)):
            player.load(state)
            assert player.save() == state
            assert player.save() == state, "reading changed the state"


def test_a_save_and_a_load_take_the_cycles_that_are_promised(pair: list[HaltablePlayer]) -> None:
    for player in pair:
        state = player.save()
        assert player.frozen_cycles == player.map.save_cycles
        player.load(state)
        assert player.frozen_cycles == player.map.save_cycles + player.map.load_cycles


def test_what_cannot_be_is_refused(pair: list[HaltablePlayer]) -> None:
    player, other = pair
    state = player.save()
    with pytest.raises(SnapshotError, match="layout"):
        other.load(replace(state, layout_id="another"))
    with pytest.raises(PortError, match="no port 'sp_run'"):
        player.set("sp_run", 0)
    player.set("clk", 1)
    player.eval()
    with pytest.raises(PortError, match="every clock low"):
        player.save()
