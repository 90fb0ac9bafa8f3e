"""Reads a JSON object field by field, so that each fault is an error naming the field."""

from __future__ import annotations

import math
import re
from typing import Any

from bitstreams.errors import ManifestInvalid

MAX_ITEMS = 4096  # of any list; far above any overlay's


class Fields:
    """One JSON object; `finish` refuses what nobody asked for."""

    def __init__(self, raw: Any, where: str) -> None:
        if not isinstance(raw, dict):
            raise ManifestInvalid(f"{where} is no JSON object")
        self.where = where
        self._left = dict(raw)

    def take(self, name: str) -> Any:
        if name not in self._left:
            raise ManifestInvalid(f"{self.where} lacks {name!r}")
        return self._left.pop(name)

    def finish(self) -> None:
        if self._left:
            raise ManifestInvalid(f"{self.where} has unknown fields: {', '.join(self._left)}")

    def integer(self, name: str, low: int, high: int | None = None) -> int:
        value = self.take(name)
        if type(value) is not int or value < low or (high is not None and value > high):
            raise ManifestInvalid(f"{self.where}: {name} is {value!r}, not an integer from {low}")
        return value

    def positive(self, name: str) -> float:
        value = self.take(name)
        if type(value) not in (int, float) or not (math.isfinite(value) and value > 0):
            raise ManifestInvalid(f"{self.where}: {name} is {value!r}, not a positive number")
        return float(value)

    def matching(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self.take(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ManifestInvalid(f"{self.where}: {name} is {value!r}, not {pattern.pattern}")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.take(name)
        if value not in choices:
            raise ManifestInvalid(f"{self.where}: {name} is {value!r}, not {' or '.join(choices)}")
        return str(value)

    def sequence(self, name: str) -> list[Any]:
        value = self.take(name)
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise ManifestInvalid(f"{self.where}: {name} is no list of at most {MAX_ITEMS}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.sequence(name)
        if not all(isinstance(item, str) for item in value):
            raise ManifestInvalid(f"{self.where}: {name} is no list of texts")
        return tuple(value)

    def items(self, name: str) -> list[Fields]:
        return [
            Fields(item, f"{self.where} {name}[{index}]")
            for index, item in enumerate(self.sequence(name))
        ]
