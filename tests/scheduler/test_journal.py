"""The journal: what is written comes back, a torn tail is cut off, damage is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.codec import from_json, to_json
from scheduler.core import commands, events
from scheduler.core.machine import Machine
from scheduler.core.values import JobSpec, Recovery, Slice, Tier
from scheduler.errors import JournalDamaged, JournalDiverged, JournalTooNew
from scheduler.journal import FORMAT, Journal, _frame, read, replay
from scheduler.loop import Loop
from scheduler.policies.tiered import Tiered
from scheduler.testing.executor import FakeExecutor

SPEC = JobSpec(
    name="traïn", tenant="ann", tier=Tier.BASIC, device_kind="g", argv=("python", "-c", "1\n2"),
    env=(("A", "b"),), count=1, devices=("g:0",), recovery=Recovery.CHECKPOINT,
)  # fmt: skip


def day(path: Path, *, about: str = "") -> FakeExecutor:
    """A short day with a preemption, journalled at `path`."""
    journal = Journal(path, durable=False, about=about)
    executor = FakeExecutor()
    loop = Loop(Machine(), Tiered(), executor, (journal,))
    urgent = JobSpec(name="u", tenant="bob", tier=Tier.PREMIUM, device_kind="g", argv=("x",))
    for event in (
        events.DeviceAdded(0, "g:0", "g", "p"),
        events.JobSubmitted(1, 1, SPEC),
        events.JobStarted(2, 1, 1),
        events.JobSubmitted(3, 2, urgent),
        events.JobCheckpointed(4, 1, 1, "cp"),
        events.JobStarted(5, 2, 1),
        events.JobExited(6, 2, 1, 0),
        events.LeaseReleased(7, 2, 1),
    ):
        executor.post(event)
        loop.step(0)
    journal.close()
    return executor


def test_replay_gives_the_same_commands_and_the_same_end(tmp_path: Path) -> None:
    executor = day(tmp_path / "j")
    contents = read(tmp_path / "j")
    assert contents.torn is None
    assert [c for step in contents.steps for c in step.commands] == executor.log
    machine = Machine()
    replay(contents.steps, machine, Tiered())
    assert machine.jobs[1].state == "migrating"
    assert machine.jobs[1].checkpoint == "cp"


def test_replay_with_another_policy_is_noticed(tmp_path: Path) -> None:
    day(tmp_path / "j")
    with pytest.raises(JournalDiverged, match="step 4 at 3us"):
        replay(read(tmp_path / "j").steps, Machine(), Tiered(min_run_us=1_000_000))


def test_a_file_cut_anywhere_reads_up_to_its_last_whole_record(tmp_path: Path) -> None:
    day(tmp_path / "j")
    data = (tmp_path / "j").read_bytes()
    ends = [index + 1 for index, byte in enumerate(data) if byte == 0x0A]
    cut = tmp_path / "cut"
    around = {end + nearby for end in ends for nearby in (-2, -1, 0, 1, 9, 12, 40)}
    for length in sorted({0, 1, 5, *around} & set(range(len(data)))):
        cut.write_bytes(data[:length])
        contents = read(cut)
        whole = sum(end <= length for end in ends)
        assert len(contents.steps) == max(whole - 1, 0)
        assert (contents.torn is None) == (length in (0, *ends))
        if contents.torn:
            assert contents.torn.offset + contents.torn.nbytes == length


def test_a_journal_goes_on_after_a_torn_tail_and_reports_it(tmp_path: Path) -> None:
    path = tmp_path / "j"
    day(path)
    data = path.read_bytes()
    path.write_bytes(data[:-7])
    journal = Journal(path, durable=True)
    assert journal.torn is not None
    assert "bytes announced" in journal.torn.reason
    journal.record((events.TimePassed(9),), ())
    journal.close()
    contents = read(path)
    assert contents.torn is None
    assert contents.steps[-1].events == (events.TimePassed(9),)
    assert len(contents.steps) == 8


def test_a_journal_torn_in_its_header_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(_frame({"format": FORMAT, "version": 1})[:10])
    journal = Journal(path, durable=False, about="second try")
    assert journal.torn is not None
    journal.close()
    assert read(path).header["about"] == "second try"


@settings(
    max_examples=150, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data())
def test_a_flipped_bit_is_never_read_as_something_else(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "j"
    if not path.exists():
        day(path)
    good = read(path).steps
    raw = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    flipped = tmp_path / "flipped"
    flipped.write_bytes(raw)
    try:
        contents = read(flipped)
    except JournalDamaged:
        return
    # Not refused: then it was in the last record, which cannot be told from a torn one; or in the
    # case of a hexadecimal digit, which changes nothing.
    assert contents.steps == (good if contents.torn is None else good[:-1])


def test_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(_frame({"format": FORMAT, "version": 2}))
    with pytest.raises(JournalTooNew, match="version 2"):
        read(tmp_path / "j")


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(_frame({"format": "diary", "version": 1}))
    with pytest.raises(JournalDamaged, match="header"):
        read(tmp_path / "j")


def test_a_whole_record_of_nonsense_is_refused(tmp_path: Path) -> None:
    step = {"events": [{"type": "JobStarted", "at_us": "soon", "job": 1, "epoch": 1}]}
    body = _frame({"format": FORMAT, "version": 1}) + _frame({**step, "commands": []})
    (tmp_path / "j").write_bytes(body)
    with pytest.raises(JournalDamaged, match="record 1"):
        read(tmp_path / "j")


@pytest.mark.parametrize(
    "value",
    [
        events.DeviceAdded(1, "g:0", "g", "p", 2),
        events.DeviceLost(1, "g:0", "why"),
        events.JobSubmitted(1, 1, SPEC),
        events.CancelRequested(1, 1),
        events.TimePassed(1),
        events.JobStarted(1, 1, 1),
        events.StartFailed(1, 1, 1, "code", "retry", "words"),
        events.JobCheckpointed(1, 1, 1, "cp"),
        events.CheckpointFailed(1, 1, 1, "code", "fatal", "words"),
        events.JobExited(1, 1, 1, -9, "last\nwords"),
        events.LeaseReleased(1, 1, 1),
        commands.Start(1, 2, (Slice("g:0", 0), Slice("g:1", 1)), "cp", SPEC),
        commands.Checkpoint(1, 1),
        commands.Release(1, 1),
        commands.WakeAt(5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_event_and_command_crosses_json_unchanged(value: events.Event) -> None:
    assert from_json(to_json(value)) == value


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown fields"):
        from_json({"type": "WakeAt", "at_us": 1, "color": "red"})
