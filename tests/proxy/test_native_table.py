"""The native halves speak the same wire: their header is generated from the table of records."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from proxy.native import generate

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "proxy" / "native"


def test_the_native_header_is_that_of_the_table() -> None:
    expected = generate.table()
    assert generate.TABLE.read_text() == expected, "run python -m proxy.native.generate"


@pytest.mark.parametrize("half", ["opencl", "engine"])
def test_every_source_of_a_native_half_is_built(half: str) -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "ext-modules"
    ]
    module = next(each for each in listed if each["name"] == f"proxy.native.{half}")
    sources = [NATIVE / f"{half}.cpp", *(NATIVE / half).glob("*.cpp")]
    headers = [*NATIVE.glob("*.hpp"), *(NATIVE / half).glob("*.hpp")]
    assert sorted(module["sources"]) == sorted(str(path.relative_to(ROOT)) for path in sources)
    assert sorted(module["depends"]) == sorted(str(path.relative_to(ROOT)) for path in headers)
