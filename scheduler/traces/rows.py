"""Rows of a CSV file whose damage is told by file, row and column."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from scheduler.core.values import MAX_NAME
from scheduler.errors import TraceDamaged

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() takes 1_000
MAX_ROWS = 20_000_000  # far above any public trace: a file that never ends must not take all memory


@dataclass(frozen=True, slots=True)
class Row:
    path: Path
    line: int
    cells: dict[str, str]

    def text(self, column: str) -> str:
        return self.cells[column].strip()

    def number(self, column: str, least: float = -math.inf, most: float = math.inf) -> float:
        text = self.text(column)
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not least <= value <= most or math.isinf(value):
            raise self.damaged(column, f"a number from {least:g} to {most:g}")
        return value

    def whole(self, column: str, least: int, most: int) -> int:
        value = self.number(column, least, most)
        if value != int(value):
            raise self.damaged(column, "a whole number")
        return int(value)

    def time_s(self, column: str) -> float:
        """Seconds since the epoch of a timestamp such as 2017-10-09 07:01:55[.123456]."""
        text = self.text(column)
        whole, _, fraction = text.partition(".")
        try:
            digits = fraction[:6].ljust(6, "0") if fraction else "000000"
            moment = datetime.fromisoformat(f"{whole}.{digits}+00:00")
        except ValueError:
            raise self.damaged(column, "a time such as 2017-10-09 07:01:55") from None
        return moment.timestamp()

    def name(self, column: str, most: int = MAX_NAME) -> str:
        """What a job, a tenant or a node may be called."""
        text = self.text(column)
        if not 0 < len(text) <= most or not text.isprintable():
            raise self.damaged(column, f"a name of 1 to {most} characters")
        return text

    def damaged(self, column: str, wanted: str) -> TraceDamaged:
        return TraceDamaged(
            f"{self.path}, line {self.line}, column {column}: {self.cells[column][:80]!r} "
            f"is not {wanted}"
        )


def unique(rows: Iterable[Row], column: str) -> Iterator[Row]:
    """Rows of which no two have the same there."""
    lines: dict[str, int] = {}
    for row in rows:
        first = lines.setdefault(row.text(column), row.line)
        if first != row.line:
            raise row.damaged(column, f"there once: line {first} has it, too")
        yield row


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Every row of a CSV file whose header names `columns` (and perhaps others)."""
    line = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            missing = [name for name in columns if name not in header]
            if missing:
                raise TraceDamaged(
                    f"{path}: no column {', '.join(missing)}; its header is "
                    f"{', '.join(header)[:200] or 'empty'}"
                )
            for count, cells in enumerate(reader):
                if count >= MAX_ROWS:
                    raise TraceDamaged(f"{path}: more than {MAX_ROWS} rows")
                line = reader.line_num
                if not cells:
                    continue  # an empty line, as editors leave at a file's end
                if len(cells) != len(header):
                    raise TraceDamaged(
                        f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)}"
                    )
                yield Row(path, line, dict(zip(header, cells, strict=True)))
    except OSError as error:
        raise TraceDamaged(f"{path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TraceDamaged(f"{path}, after line {line}: no CSV file in UTF-8 ({error})") from error
