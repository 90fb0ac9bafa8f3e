"""`python -m hal`: every device found, proven by its self tests. Exit status 1 if one is wrong."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hal.registry import absent_backends, list_devices, self_tests
from hal.types import DeviceInfo
from hal.workload import smoke

COLUMNS = ("device", "name", "test", "result", "time")


@dataclass(frozen=True, slots=True)
class Row:
    device: str
    name: str
    test: str
    result: str
    seconds: float | None = None
    failed: bool = False

    def cells(self) -> tuple[str, ...]:
        taken = "" if self.seconds is None else f"{self.seconds * 1e3:.0f} ms"
        return (self.device, self.name, self.test, self.result, taken)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hal", description=__doc__)
    parser.add_argument("device", nargs="*", help="only these devices, e.g. opencl:0")
    chosen = parser.parse_args(argv).device
    found = {info.uri: info for info in list_devices()}
    unknown = [uri for uri in chosen if uri not in found]
    if unknown:
        parser.error(f"no device {', '.join(unknown)}; there are {', '.join(found)}")
    infos = [found[uri] for uri in chosen] if chosen else list(found.values())
    rows = _show(row for info in infos for row in _prove(info))
    print()
    if not chosen:
        for absent in absent_backends():
            print(f"{absent.name}: absent, {absent.reason}")
    return 1 if any(row.failed for row in rows) else 0


def _prove(info: DeviceInfo) -> Iterator[Row]:
    tests = self_tests(info.uri)
    if not tests:
        why = "no self test" if info.caps.computes else "computes nothing"
        yield Row(info.uri, info.name, "", why)
    for test in tests:
        start = time.monotonic()
        reason = smoke(info.uri, test)
        yield Row(
            info.uri,
            info.name,
            test.name,
            "PASS" if reason is None else reason,
            time.monotonic() - start,
            reason is not None,
        )


def _show(rows: Iterable[Row]) -> list[Row]:
    """A table with rich, filled as results come; lines without it."""
    try:
        from rich.live import Live
        from rich.table import Table
        from rich.text import Text
    except ModuleNotFoundError:
        shown = []
        for row in rows:
            print("  ".join(row.cells()), flush=True)
            shown.append(row)
        return shown
    table = Table(*COLUMNS)
    shown = []
    with Live(table, auto_refresh=False) as live:
        for row in rows:
            device, name, test, result, taken = row.cells()
            style = "red" if row.failed else "green" if result == "PASS" else "dim"
            table.add_row(device, Text(name), test, Text(result, style=style), taken)
            live.refresh()
            shown.append(row)
    return shown


if __name__ == "__main__":
    sys.exit(main())
