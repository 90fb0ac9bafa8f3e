"""Who makes room, by which buffers; and where bytes are meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.known import PIECE_BYTES
from proxy.swap_choice import Seat, chosen, parts
from proxy.swap_space import SpaceFull, SwappedOut, SwapSpace

SEATS = st.lists(
    st.builds(
        Seat,
        tenant=st.just("session"),
        nbytes=st.integers(1, 100),
        held=st.booleans(),
        busy=st.booleans(),
        since_s=st.floats(0, 100),
    ),
    max_size=8,
)


def test_idle_sessions_go_first_and_of_those_the_one_that_is_idle_longest() -> None:
    busy = Seat("busy", 10, False, True, 0.0)
    late, early = Seat("late", 10, False, False, 5.0), Seat("early", 10, False, False, 4.0)
    seats = [busy, late, early]
    assert [seat.tenant for seat in chosen(seats, 10)] == ["early"]
    assert [seat.tenant for seat in chosen(seats, 11)] == ["early", "late"]
    assert [seat.tenant for seat in chosen(seats, 30)] == ["early", "late", "busy"]
    assert chosen(seats, 31) == []


def test_who_was_told_to_stand_still_is_not_let_go_for_another() -> None:
    held = Seat("held", 10, True, False, 9.0)
    assert chosen([Seat("idle", 10, False, False, 1.0), held], 10) == [held]


@given(SEATS, st.integers(1, 500))
def test_who_is_chosen_has_enough_and_nobody_of_them_could_be_spared(
    seats: list[Seat[str]], short: int
) -> None:
    found = chosen(seats, short)
    if sum(seat.nbytes for seat in seats) < short:
        assert found == []
    else:
        assert sum(seat.nbytes for seat in found) >= short
        assert sum(seat.nbytes for seat in found[:-1]) < short


@given(st.dictionaries(st.integers(0, 50), st.integers(1, 100), max_size=10), st.integers(1, 600))
def test_buffers_that_go_are_enough_and_few(sizes: dict[int, int], short: int) -> None:
    found = parts(sizes, short)
    assert len(set(found)) == len(found) and set(found) <= sizes.keys()
    freed = sum(sizes[handle] for handle in found)
    if sum(sizes.values()) <= short:
        assert set(found) == sizes.keys()
    else:
        assert freed >= short
        assert all(freed - sizes[handle] < short for handle in found), "none could stay"


@pytest.mark.parametrize("in_files", [False, True])
def test_a_space_gives_back_what_was_put_and_keeps_what_is_equal_once(
    tmp_path: Path, in_files: bool
) -> None:
    space = SwapSpace(3 * PIECE_BYTES, tmp_path if in_files else None)
    data = bytes(PIECE_BYTES) + b"x" * PIECE_BYTES + b"end"
    first, second = SwappedOut(space), SwappedOut(space)
    first.append(memoryview(data))
    second.append(memoryview(data))
    assert space.used_bytes == len(data)
    first.drop()
    for offset, nbytes in ((0, len(data)), (5, 10), (PIECE_BYTES - 1, 2), (len(data) - 3, 3)):
        assert second.read(offset, nbytes) == data[offset : offset + nbytes]
    third = SwappedOut(space)
    with pytest.raises(SpaceFull):
        third.append(memoryview(b"y" * PIECE_BYTES))
    third.drop()
    assert second.read(0, len(data)) == data
    second.drop()
    assert space.used_bytes == 0 and list(tmp_path.iterdir()) == []


def test_pieces_of_one_mark_are_told_apart_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.swap_space.mark_of", lambda data: b"the same")
    space = SwapSpace(1000)
    names = [space.put(memoryview(data)) for data in (b"one", b"two", b"one", b"longer")]
    assert [space.get(name) for name in names] == [b"one", b"two", b"one", b"longer"]
    space.drop(names[0])
    again = space.put(memoryview(b"two"))
    assert space.get(names[2]) == b"one" and space.get(again) == b"two"
    assert space.used_bytes == 12
