"""Placing registers on the chain: every bit once, rows full, padding only at the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtl_sim.capture.chain import place
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
    places = list(chain.places(registers))
    names = [p.name for p in places]
    assert sorted(names) == sorted(bit for register in registers for bit in register.bits)
    assert len(set(names)) == len({(p.row, p.lane) for p in places}) == len(places)
    assert all(0 <= p.row < len(chain.rows) and 0 <= p.lane < lanes for p in places)


@given(WIDTHS, st.integers(1, 80))
def test_only_the_last_row_is_padded(widths: list[int], lanes: int) -> None:
    chain = place(_registers(widths), lanes)
    filled = [sum(piece.width for piece in row) for row in chain.rows]
    assert all(width == lanes for width in filled[:-1])
    assert sum(filled) + chain.padding == lanes * len(chain.rows)
    assert 0 <= chain.padding < lanes


@given(WIDTHS)
def test_whole_rows_of_wide_registers_stay_together(widths: list[int]) -> None:
    chain = place(_registers(widths), 32)
    whole = [row for row in chain.rows if len(row) == 1 and row[0].width == 32]
    assert len(whole) >= sum(width // 32 for width in widths)
