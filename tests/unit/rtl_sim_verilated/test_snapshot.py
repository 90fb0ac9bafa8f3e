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


def a_map(order: list[int], lanes: int, chained: int = 20) -> StateMap:
    """20 register bits, in the given order: `chained` in a chain, the others in a read register."""
    bits = [(f"f{index // 8}", index % 8) for index in order]
    flops = [
        {"name": name, "bit": bit, "row": place // lanes, "lane": place % lanes}
        for place, (name, bit) in enumerate(bits[:chained])
    ]
    registers = [{"select": 1, "memory": 0, "bits": bits[chained:]}] if chained < 20 else []
    return StateMap.parse(
        json.dumps(
            {"format": 2, "clock": "c", "clocks": ["c"], "read_registers": registers,
             "layout_id": "ab", "lanes": lanes, "rows": -(-20 // lanes), "mem_width": 20,
             "flops": flops, "memories": [{"name": "m", "index": 0, "width": 20, "depth": 2}],
             "roms": []}
        ).encode()
    )  # fmt: skip


@given(
    st.permutations(range(20)),
    st.permutations(range(20)),
    st.integers(0, 19),
    st.integers(0, 2**20 - 1),
)
def test_register_bits_do_not_depend_on_chain_order_lanes_or_where_they_are(
    one: list[int], two: list[int], chained: int, bits: int
) -> None:
    canonical = bits.to_bytes(3, "little")
    for state_map in (a_map(one, 3), a_map(two, 32), a_map(two, 5, chained)):
        assert state_map.gather(*state_map.scatter(canonical)) == canonical
    rows, (register,) = a_map(two, 5, chained).scatter(canonical)
    wanted = sum((bits >> index & 1) << place for place, index in enumerate(two[chained:]))
    assert int.from_bytes(register, "little") == wanted
    assert bits.bit_count() == int.from_bytes(rows, "little").bit_count() + wanted.bit_count()


def test_a_state_map_of_the_first_format_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(SnapshotError, match=r"format 1; .* capture the design again"):
        StateMap.parse(b'{"format": 1}')


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 3},
        {"rows": 0},
        {"flops": [{"name": "a"}]},
        {"flops": [{}] * 2},
        {"lanes": "x"},
        {"read_registers": [{"select": 1, "memory": 0, "bits": [["r", 0]]}]},  # of no memory
    ],
)
def test_a_state_map_that_makes_no_sense_is_refused(damage: dict[str, object]) -> None:
    sound = {"format": 2, "clock": "c", "clocks": ["c"], "read_registers": [],
             "layout_id": "ab", "lanes": 4, "rows": 1, "mem_width": 1,
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
            {"format": 2, "clock": "c", "clocks": ["c"], "read_registers": [],
             "layout_id": "ab", "lanes": 1, "rows": 1, "mem_width": 9,
             "flops": flops, "memories": memories, "roms": []}
        ).encode()
    )  # fmt: skip
    sizes = fabric.expected_sizes(state_map, 10)
    assert list(sizes.items()) == [("flops", 1), ("mem:a", 6), ("mem:b", 6), ("shell", 10)]
