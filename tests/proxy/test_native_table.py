"""The native halves speak the same wire: their header is generated from the table of records."""

from __future__ import annotations

from proxy.native import generate


def test_the_native_header_is_that_of_the_table() -> None:
    expected = generate.table()
    assert generate.TABLE.read_text() == expected, "run python -m proxy.native.generate"
