"""Placing registers on the chain: every bit once, lanes full, padding only at the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtl_sim.capture.chain import place
from rtl_sim.capture.links import Link, Spot
from rtl_sim.capture.netlist import Cell
from rtl_sim.capture.state import BitName, Register

WIDTHS = st.lists(st.integers(1, 200), max_size=30)


def _registers(widths: list[int]) -> list[Register]:
    return [
        Register(
            Cell(f"c{i}", "$dff", {}, {"Q": tuple(range(width))}, ("Q",), ""),
            tuple(BitName(f"r{i}", bit) for bit in range(width)),
            None,
            True,
        )
        for i, width in enumerate(widths)
    ]


@given(WIDTHS, st.integers(1, 80))
def test_every_bit_has_one_place_and_no_place_two_bits(widths: list[int], lanes: int) -> None:
    registers = _registers(widths)
    chain = place(registers, lanes)
    places = list(chain.places([register.bits for register in registers]))
    names = [p.name for p in places]
    assert sorted(names) == sorted(bit for register in registers for bit in register.bits)
    assert len(set(names)) == len({(p.row, p.lane) for p in places}) == len(places)
    assert all(0 <= p.row < chain.rows and 0 <= p.lane < lanes for p in places)


@given(WIDTHS, st.integers(1, 80))
def test_only_the_last_row_is_padded(widths: list[int], lanes: int) -> None:
    chain = place(_registers(widths), lanes)
    lengths = [len(spots) for spots in chain.lanes]
    full = lanes - chain.padding
    assert lengths == [chain.rows] * full + [chain.rows - 1] * chain.padding
    assert 0 <= chain.padding < lanes


@given(WIDTHS.filter(any), st.integers(1, 80))
def test_a_linked_bit_follows_its_source_unless_a_lane_ends(widths: list[int], lanes: int) -> None:
    source, target = Spot(0, 0), Spot(len(widths) - 1, widths[-1] - 1)
    chain = place(_registers(widths), lanes, [Link(source, target)] if source != target else [])
    where = {
        spot: (lane, row)
        for lane, spots in enumerate(chain.lanes)
        for row, spot in enumerate(spots)
    }
    (from_lane, above), (to_lane, below) = where[source], where[target]
    assert source == target or (from_lane == to_lane and above == below + 1) or to_lane != from_lane
