"""What a worker saves of a proxied context, the replay log, and overlays as bytes."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.errors import OverlayRejected, StateError
from hal.types import BufferArg, Handle, Overlay, ProgramImage, ScalarArg
from proxy import records
from proxy.bundles import pack_overlay, unpack_overlay
from proxy.errors import CheckpointRefused
from proxy.pending import (
    DIGEST_BYTES,
    MAGIC,
    Pending,
    SavedState,
    pack,
    to_handles,
    to_positions,
    unpack,
)
from proxy.replay import ReplayLog

LAUNCH = records.Launch(7, "k", (BufferArg(Handle(12), 4), ScalarArg(b"abcd")), (3,), ())
STATE = SavedState(
    b"hidden",
    9,
    4,
    ((8, 5), (9, 0)),
    (
        Pending(LAUNCH),
        Pending(records.Write(10, 0, 5, 64), b"bytes"),
        Pending(records.Copy(10, 1, 12, 2, 3)),
        Pending(records.Signal(6)),
    ),
)


def test_a_state_comes_back_as_it_was() -> None:
    assert unpack(pack(STATE)) == STATE


@given(st.data())
def test_a_state_with_any_byte_changed_or_missing_is_refused(data: st.DataObject) -> None:
    raw = bytearray(pack(STATE))
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    with pytest.raises(StateError):
        unpack(bytes(raw))


HEAD = {"last_seq": 0, "completed": 0, "flights": [], "hidden": 0, "pending": []}


@pytest.mark.parametrize(
    "head",
    [
        [],
        None,
        HEAD | {"pending": [[5, 0]]},
        HEAD | {"pending": 7},
        HEAD | {"hidden": -5},
        HEAD | {"hidden": "x"},
        HEAD | {"hidden": 1},
        HEAD | {"completed": 2**70},
        HEAD | {"completed": -1},
        HEAD | {"last_seq": 1.5},
        HEAD | {"flights": [[2**70, 0]]},
        HEAD | {"flights": [[1, None]]},
    ],
)
def test_a_state_of_a_stranger_s_making_is_refused(head: object) -> None:
    with pytest.raises(StateError, match="not understood"):
        unpack(sealed(json.dumps(head).encode()))


def test_a_state_nested_beyond_all_reason_is_refused() -> None:
    deep = b"[" * 100_000
    with pytest.raises(StateError, match="not understood"):
        unpack(sealed(deep))
    with pytest.raises(OverlayRejected):
        unpack_overlay(len(deep).to_bytes(8, "little") + deep, "digest")


def sealed(head: bytes) -> bytes:
    body = MAGIC + len(head).to_bytes(8, "little") + head
    return body + hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()


def test_handles_become_positions_and_handles_of_another_session() -> None:
    placed = to_positions(STATE.pending, buffers=[10, 12], programs=[7])
    assert placed[0].command == LAUNCH._replace(
        program=1, args=(BufferArg(Handle(2), 4), ScalarArg(b"abcd"))
    )
    there = to_handles(placed, buffers=[31, 32], programs=[33])
    assert there[2].command == records.Copy(31, 1, 32, 2, 3)
    assert [item.payload for item in there] == [b"", b"bytes", b"", b""]


def test_queued_reads_are_left_out_and_queued_frees_are_refused() -> None:
    assert to_positions([Pending(records.Read(1, 0, 8, 0))], [1], []) == ()
    with pytest.raises(StateError, match="Free is queued"):
        to_positions([Pending(records.Free(1))], [1], [])


def test_a_state_that_names_more_objects_than_there_are_is_refused() -> None:
    placed = to_positions(STATE.pending, [10, 12], [7])
    with pytest.raises(StateError, match="not live"):
        to_handles(placed, [31], [33])


# ---- the replay log


def test_the_log_holds_what_lives_in_creation_order_and_forgets_the_dead() -> None:
    log = ReplayLog()
    for handle in range(1, 1000):
        log.allocated(handle, 8 * handle, 15)
        log.loaded(handle, ProgramImage("f", b"%d" % handle))
        if handle % 250:
            log.freed(handle)
            log.unloaded(handle)
    assert list(log.buffers) == list(log.programs) == [250, 500, 750]
    payloads = [image.payload for image in log.programs.values()]
    again = ReplayLog.from_json(log.to_json(), payloads)
    assert again == log
    assert again.highest_buffer == 999, "numbers of the dead are not used again"


@pytest.mark.parametrize(
    "change",
    [{"version": 99}, {"buffers": [[1, "x", 3]]}, {"programs": []}, {"highest": 3}],
    ids=str,
)
def test_a_log_that_is_not_one_is_refused(change: dict[str, object]) -> None:
    log = ReplayLog()
    log.allocated(1, 8, 15)
    log.loaded(2, ProgramImage("f", b"x"))
    with pytest.raises(CheckpointRefused):
        ReplayLog.from_json(log.to_json() | change, [b"x"])
    with pytest.raises(CheckpointRefused):
        ReplayLog.from_json(None, [])


# ---- overlays

OVERLAY = Overlay("ab12", b'{"name": 1}', {"a.sv": b"module a;", "dir/b.bin": bytes(300), "c": b""})


def test_an_overlay_comes_back_as_it_was() -> None:
    assert unpack_overlay(pack_overlay(OVERLAY), "ab12") == OVERLAY


@given(st.integers(0, 400))
def test_an_overlay_cut_short_is_refused(keep: int) -> None:
    data = pack_overlay(OVERLAY)
    with pytest.raises(OverlayRejected):
        unpack_overlay(data[: min(keep, len(data) - 1)], "ab12")
