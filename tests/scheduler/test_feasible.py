"""What a live pool says of jobs that it can never run."""

from __future__ import annotations

import pytest

from scheduler.core.values import JobSpec
from scheduler.errors import Infeasible
from scheduler.live.feasible import check_feasible

SLICES = {"opencl:0": 2, "opencl:1": 1, "opencl:2": 2}
PARTS = {"opencl:0": "old", "opencl:1": "old", "opencl:2": "new"}


def gang(count: int, *devices: str, tier: str = "premium") -> JobSpec:
    return JobSpec("gang", "ann", tier, "opencl", ["work"], count=count, devices=devices)


def test_a_gang_has_room_on_one_part_or_is_refused() -> None:
    check_feasible(gang(3), SLICES, PARTS, True)
    for spec in (gang(4), gang(3, "opencl:0", "opencl:2"), gang(5, tier="basic")):
        with pytest.raises(Infeasible, match="of one part"):
            check_feasible(spec, SLICES, PARTS, True)
    check_feasible(gang(2, "opencl:0", "opencl:2"), SLICES, PARTS, False)
    with pytest.raises(Infeasible, match=r"that it accepts have 2\. Ask for fewer"):
        check_feasible(gang(3, "opencl:2"), SLICES, PARTS, False)
