"""What goes wrong in a simulated cluster (`breaking` does it): in words or in a file.

Words, separated by `;`, each with its settings; times have a unit (s, m, h, d):

    node:mtbf=30d,mttr=4h                      each node by itself
    device:mtbf=2y,mttr=1h                     each accelerator; its node is down meanwhile
    region:count=4,mtbf=180d,mttr=6h           nodes in so many regions, each as a whole
    straggler:mtbf=10d,mttr=2h,speed=0.5       a node runs at that share of its speed
    store:mtbf=5d,mttr=30m,slow=5              saving, halting and restoring take so much longer
    outage:nodes=node0-*,at=10h,lasts=2h       nodes by name, once
    drain:nodes=node0-1,at=5h,notice=30m,lasts=2h    removed after that notice
    window:nodes=node0-*,at=5h,within=12h,notice=30m,lasts=2h    each of them within that time, when
                                               it is best (`policies/maintenance.py`)

Both times between faults and until they are mended are drawn from exponential distributions. A TOML
file has the same as tables (`[node]`, `mtbf = "30d"`; `[[outage]]`, `[[drain]]` and `[[window]]`
any number).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler.core.speed import FULL_PPM
from scheduler.errors import TraceDamaged

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "y": 365 * 86_400}
MAX_S = 1000 * UNITS_S["y"]
_TIME = re.compile(r"(\d+(?:\.\d+)?)([smhdy])")


@dataclass(frozen=True, slots=True)
class Failing:
    """Comes and goes. Seconds."""

    mtbf_s: float
    mttr_s: float


@dataclass(frozen=True, slots=True)
class Planned:
    """Of the nodes whose names match. `notice_s`: None: it is not told before."""

    nodes: str
    at_s: float
    lasts_s: float
    notice_s: float | None = None


@dataclass(frozen=True, slots=True)
class Maintained:
    """Of the nodes whose names match: each is out for `lasts_s`, told `notice_s` before."""

    nodes: str
    at_s: float
    within_s: float
    notice_s: float
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Faults:
    """speed  of a straggler, in millionths; `slow`: of the store, how much longer things take"""

    node: Failing | None = None
    device: Failing | None = None
    region: Failing | None = None
    regions: int = 1
    straggler: Failing | None = None
    speed_ppm: int = FULL_PPM // 2
    store: Failing | None = None
    slow_ppm: int = 5 * FULL_PPM
    planned: tuple[Planned, ...] = ()
    windows: tuple[Maintained, ...] = ()


_KEYS = {
    "node": ("mtbf", "mttr"),
    "device": ("mtbf", "mttr"),
    "region": ("mtbf", "mttr", "count"),
    "straggler": ("mtbf", "mttr", "speed"),
    "store": ("mtbf", "mttr", "slow"),
    "outage": ("nodes", "at", "lasts"),
    "drain": ("nodes", "at", "notice", "lasts"),
    "window": ("nodes", "at", "within", "notice", "lasts"),
}


def read_faults(spec: str) -> Faults:
    """By words or by a file's path. Raises TraceDamaged, which names what is wrong."""
    if ":" in spec and not _is_file(spec):
        return _Reader(spec).faults(_words(spec, word) for word in spec.split(";") if word.strip())
    return _Reader(spec).faults(_file(spec))


def _is_file(spec: str) -> bool:
    try:
        return Path(spec).exists()
    except OSError:  # many words are longer than a file's name can be
        return False


def _words(spec: str, text: str) -> tuple[str, Mapping[str, Any]]:
    kind, _, rest = text.strip().partition(":")
    pairs = [word.partition("=") for word in rest.split(",") if word]
    row = {key.strip(): value.strip() for key, _, value in pairs}
    if len(row) != len(pairs):
        raise TraceDamaged(f"faults {spec}: {kind} has a setting twice")
    return kind, row


def _file(spec: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        tables = tomllib.loads(Path(spec).read_text(encoding="utf-8"))
    except OSError as error:
        raise TraceDamaged(
            f"faults {spec!r} are neither words (node:mtbf=30d,mttr=4h;...) nor a file that can be "
            f"read: {error.strerror}"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TraceDamaged(f"faults {spec}: no TOML ({error})") from error
    for kind, rows in tables.items():
        for row in rows if isinstance(rows, list) else [rows]:
            if not isinstance(row, dict):
                raise TraceDamaged(f"faults {spec}: {kind} = {row!r} is no table")
            yield kind, row


@dataclass(frozen=True, slots=True)
class _Reader:
    spec: str
    _seen: set[str] = field(default_factory=set)

    def faults(self, found: Iterable[tuple[str, Mapping[str, Any]]]) -> Faults:
        settings: dict[str, Any] = {}
        planned: list[Planned] = []
        windows: list[Maintained] = []
        for kind, row in found:
            self._check(kind, row)
            if kind in ("outage", "drain"):
                notice_s = self._time(kind, row, "notice") if kind == "drain" else None
                at_s, lasts_s = self._time(kind, row, "at"), self._time(kind, row, "lasts")
                planned.append(Planned(str(row["nodes"]), at_s, lasts_s, notice_s))
                continue
            if kind == "window":
                times = (self._time(kind, row, key) for key in _KEYS[kind][1:])
                windows.append(Maintained(str(row["nodes"]), *times))
                continue
            settings[kind] = Failing(self._time(kind, row, "mtbf"), self._time(kind, row, "mttr"))
            if "count" in row:
                settings["regions"] = self._count(kind, row)
            if "speed" in row:
                speed = self._number(kind, row, "speed", 1e-6, 1)
                settings["speed_ppm"] = round(speed * FULL_PPM)
            if "slow" in row:
                settings["slow_ppm"] = round(self._number(kind, row, "slow", 1, 1e6) * FULL_PPM)
        return Faults(**settings, planned=tuple(planned), windows=tuple(windows))

    def _check(self, kind: str, row: Mapping[str, Any]) -> None:
        if kind not in _KEYS:
            raise TraceDamaged(f"faults {self.spec}: {kind!r} is none of {', '.join(_KEYS)}")
        if kind in self._seen and kind not in ("outage", "drain", "window"):
            raise TraceDamaged(f"faults {self.spec}: {kind} comes twice")
        self._seen.add(kind)
        unknown = [key for key in row if key not in _KEYS[kind]]
        optional = ("speed", "slow", "count")
        missing = [key for key in _KEYS[kind] if key not in row and key not in optional]
        if unknown or missing:
            raise TraceDamaged(
                f"faults {self.spec}: {kind} has {', '.join(_KEYS[kind])}; unknown are "
                f"{unknown}, missing are {missing}"
            )

    def _time(self, kind: str, row: Mapping[str, Any], key: str) -> float:
        match = _TIME.fullmatch(str(row[key]))
        found_s = float(match[1]) * UNITS_S[match[2]] if match else -1.0
        if not 0 <= found_s <= MAX_S or (
            key in ("mtbf", "mttr", "lasts", "within") and not found_s
        ):
            raise TraceDamaged(
                f"faults {self.spec}: {kind} {key} = {row[key]!r} is no time up to 1000y, with a "
                f"unit of {', '.join(UNITS_S)}"
            )
        return found_s

    def _count(self, kind: str, row: Mapping[str, Any]) -> int:
        count = self._number(kind, row, "count", 1, 1 << 16)
        if not count.is_integer():
            raise TraceDamaged(f"faults {self.spec}: {kind} count = {count:g} is no whole number")
        return int(count)

    def _number(
        self, kind: str, row: Mapping[str, Any], key: str, least: float, most: float
    ) -> float:
        try:
            value = float(row[key])
        except (TypeError, ValueError):
            value = float("nan")
        if not least <= value <= most:
            raise TraceDamaged(
                f"faults {self.spec}: {kind} {key} = {row[key]!r} is no number from {least:g} to "
                f"{most:g}"
            )
        return value
