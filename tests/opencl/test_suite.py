"""Every case of the suite (suite/*.cpp) prints the same lines natively and through the proxy,
whether it shares its buffers with the device or not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from opencl_sides import HERE, Side

CASES = [
    pytest.param(source, case, id=f"{source.stem}-{case}")
    for source in sorted(HERE.glob("suite/*.cpp"))
    for case in re.findall(r"^CASE\((\w+)\)", source.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("source", "case"), CASES)
def test_a_case_prints_the_same_on_all_sides(
    source: Path,
    case: str,
    compiled: Callable[[Path], str],
    native: Side,
    proxied: Side,
    staged: Side,
) -> None:
    command = [compiled(source), case]
    expected = native.run(command).checked()
    assert expected.lines[-1] == f"end of {case}"
    assert proxied.run(command).checked().lines == expected.lines
    assert staged.run(command).checked().lines == expected.lines
