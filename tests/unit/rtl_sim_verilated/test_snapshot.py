"""Snapshot files: what is written is read back; anything else is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtl_sim import snapshot as fabric
from rtl_sim.errors import SnapshotError
from rtl_sim.snapshot import Snapshot, pack, unpack
from rtl_sim.statemap import StateMap

snapshots = st.builds(
    Snapshot,
    overlay=st.text("0123456789abcdef", max_size=64),
    layout_id=st.text("0123456789abcdef", max_size=64),
    cycle=st.integers(0, 2**64 - 1),
    segments=st.dictionaries(st.text(max_size=12), st.binary(max_size=40), max_size=5),
)


@given(snapshots)
def test_a_packed_snapshot_unpacks_to_itself_with_segments_in_order(snapshot: Snapshot) -> None:
    again = unpack(pack(snapshot))
    assert again == snapshot
    assert list(again.segments) == list(snapshot.segments)


@given(snapshots, st.data())
def test_a_snapshot_with_any_bit_flipped_is_refused(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    packed = bytearray(pack(snapshot))
    bit = data.draw(st.integers(0, len(packed) * 8 - 1))
    packed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SnapshotError):
        unpack(bytes(packed))


@given(snapshots, st.data())
def test_a_truncated_or_lengthened_snapshot_is_refused(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    packed = pack(snapshot)
    with pytest.raises(SnapshotError):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(SnapshotError):
        unpack(packed + data.draw(st.binary(min_size=1, max_size=9)))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        unpack(data)


def a_map(order: list[int], lanes: int) -> StateMap:
    """20 flip-flops placed in a chain in the given order."""
    flops = [
        {"name": f"f{index // 8}", "bit": index % 8, "row": place // lanes, "lane": place % lanes}
        for place, index in enumerate(order)
    ]
    return StateMap.parse(
        json.dumps(
            {"format": 1, "layout_id": "ab", "lanes": lanes, "rows": -(-20 // lanes),
             "mem_width": 1, "flops": flops, "memories": [], "roms": []}
        ).encode()
    )  # fmt: skip


@given(st.permutations(range(20)), st.permutations(range(20)), st.integers(0, 2**20 - 1))
def test_flip_flop_bits_do_not_depend_on_chain_order_or_lanes(
    one: list[int], two: list[int], bits: int
) -> None:
    canonical = bits.to_bytes(3, "little")
    narrow, wide = a_map(one, 3), a_map(two, 32)
    assert narrow.flops_from_rows(narrow.rows_from_flops(canonical)) == canonical
    assert wide.flops_from_rows(wide.rows_from_flops(canonical)) == canonical


@pytest.mark.parametrize(
    "damage",
    [{"format": 2}, {"rows": 0}, {"flops": [{"name": "a"}]}, {"flops": [{}] * 2}, {"lanes": "x"}],
)
def test_a_state_map_that_makes_no_sense_is_refused(damage: dict[str, object]) -> None:
    sound = {"format": 1, "layout_id": "ab", "lanes": 4, "rows": 1, "mem_width": 1,
             "flops": [{"name": "f", "bit": 0, "row": 0, "lane": 0}],
             "memories": [], "roms": []}  # fmt: skip
    StateMap.parse(json.dumps(sound).encode())
    with pytest.raises(SnapshotError):
        StateMap.parse(json.dumps({**sound, **damage}).encode())


def test_segments_of_a_snapshot_are_flops_then_memories_by_name_then_shell() -> None:
    flops = [{"name": "f", "bit": 0, "row": 0, "lane": 0}]
    memories = [
        {"name": name, "index": index, "width": 9, "depth": 3} for index, name in enumerate("ba")
    ]
    state_map = StateMap.parse(
        json.dumps(
            {"format": 1, "layout_id": "ab", "lanes": 1, "rows": 1, "mem_width": 9,
             "flops": flops, "memories": memories, "roms": []}
        ).encode()
    )  # fmt: skip
    sizes = fabric.expected_sizes(state_map, 10)
    assert list(sizes.items()) == [("flops", 1), ("mem:a", 6), ("mem:b", 6), ("shell", 10)]
