"""The arena never hands out a byte twice, and always has room again when all was given back."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from proxy.arena import Arena, Region, chunks
from proxy.errors import LocalProtocolError

SIZE = 1024


class ArenaKeepsRegionsApart(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.arena = Arena(SIZE)
        self.taken: list[Region] = []

    @rule(nbytes=st.integers(1, SIZE))
    def take(self, nbytes: int) -> None:
        region = self.arena.take(nbytes)
        if region is None:
            assert self.taken, "an empty arena has room for anything that fits it"
            return
        assert region.nbytes == nbytes
        assert region.offset >= 0
        assert region.offset + nbytes <= SIZE
        for other in self.taken:
            apart = (
                region.offset + nbytes <= other.offset
                or other.offset + other.nbytes <= region.offset
            )
            assert apart
        self.taken.append(region)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.taken) - 1))
        self.arena.give(self.taken.pop(index))


TestArenaKeepsRegionsApart = ArenaKeepsRegionsApart.TestCase
TestArenaKeepsRegionsApart.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None
)


def test_what_is_larger_than_the_arena_is_the_caller_s_fault() -> None:
    with pytest.raises(LocalProtocolError, match="in chunks"):
        Arena(SIZE).take(SIZE + 1)


@pytest.mark.parametrize("nbytes", [0, 1, 99, 100, 101, 1000])
def test_chunks_cover_everything_once(nbytes: int) -> None:
    covered = [at + i for at, size in chunks(nbytes, 100) for i in range(size)]
    assert covered == list(range(nbytes))
