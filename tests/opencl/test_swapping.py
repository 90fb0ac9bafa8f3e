"""Programs that need more memory together than their device has compute what they do alone."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opencl_machine import PROGRAMS, TIMEOUT_S, Machine, lines_of, start

from proxy import programs
from proxy.launcher import spawn
from proxy.limits import Limits

BLENDS = str(PROGRAMS.with_name("workers") / "blends.py")
STEPS = "40"
DEVICE_BYTES = 48 << 20  # a program needs 32 MiB


@contextmanager
def server(buffers: str, device_bytes: int) -> Iterator[Machine]:
    """`buffers`: where programs' are, see proxy.heap; `device_bytes`: what they have together."""
    root = Path(tempfile.mkdtemp(prefix="haltere-t-", dir="/dev/shm"))
    limits = Limits(2.0, 60.0, None, device_bytes, 1 << 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALTERE_BUFFERS", buffers)
        running = spawn("opencl:0", root, "small", tied=True, core="native", limits=limits)
    yield Machine(root, ("small",))
    running.stop()
    shutil.rmtree(root)


@pytest.fixture
def small() -> Iterator[Machine]:
    """A device with memory of its own."""
    with server("staged", DEVICE_BYTES) as found:
        yield found


def test_three_programs_share_the_memory_of_one_and_a_half(small: Machine, tmp_path: Path) -> None:
    alone = [lines_of(start((BLENDS, str(seed), STEPS), {})) for seed in range(3)]
    running = [small.under(BLENDS, str(seed), STEPS, name=f"p{seed}") for seed in range(3)]
    halted = ""
    give_up = time.monotonic() + TIMEOUT_S
    while not halted:
        assert time.monotonic() < give_up, "nobody was swapped out"
        for each in programs.sessions(small.root):
            assert each.out_bytes <= each.buffer_bytes
            if each.out_bytes and not halted:
                halted = each.session
    programs.halt(small.root, halted, tmp_path)
    assert programs.resume(small.root, halted) == [(halted, "small")]
    assert [lines_of(each) for each in running] == alone


def test_buffers_that_programs_share_with_their_server_need_no_room_on_the_device() -> None:
    with server("shared", 1 << 20) as machine:
        alone = lines_of(start((BLENDS, "1", "4"), {}))
        assert lines_of(machine.under(BLENDS, "1", "4", name="p")) == alone
