"""The redo log: what was kept comes back, of a torn one nothing, and its memory is had again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import CheckpointRefused
from proxy.redo_log import PAGE_BYTES, Begun, Kind, RedoLog, half_at, read


def test_memory_of_a_log_is_had_again_after_two_checkpoints(tmp_path: Path) -> None:
    log = RedoLog.create(tmp_path / "job", Begun(7))
    for turn in range(4):
        assert log.append(Kind.COMMAND, turn, b"r" * 16, bytes([turn]) * (3 << 20))
        found = read(log.path)
        assert found is not None
        assert found[0] == Begun(7, f"id {turn}" if turn else "", "store" if turn else "")
        assert [(entry.number, entry.payload[:1]) for entry in found[1]] == [(turn, bytes([turn]))]
        if turn:
            assert log.path.stat().st_blocks * 512 < 4 * (3 << 20)
        log.begin(f"id {turn + 1}", "store")
    assert read(log.path) == (Begun(7, "id 4", "store"), [])
    log.close()


@given(
    entries=st.lists(
        st.tuples(
            st.sampled_from(Kind), st.integers(0, 2**64 - 1), st.binary(max_size=40), st.binary()
        ),
        max_size=20,
    ),
    cut=st.integers(0, 4096),
)
def test_a_log_gives_back_what_was_kept_and_of_a_torn_one_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[tuple[Kind, int, bytes, bytes]],
    cut: int,
) -> None:
    path = tmp_path_factory.mktemp("log") / "redo" / "job"
    begun = Begun(7, "id", "store")
    log = RedoLog.create(path, begun, 4096)
    kept = [entry for entry in entries if log.append(*entry)]
    used = log.used_bytes
    found = read(path)
    if kept != entries:
        assert log.is_void
        assert found is None
    else:
        assert found == (begun, kept)
    log.close()
    os.truncate(path, half_at(0) + PAGE_BYTES + cut)
    if found is not None and cut < used:
        with pytest.raises(CheckpointRefused, match="damaged"):
            read(path)
