"""What is expected of each job in the books, by `History`, in microseconds of its full speed."""

from __future__ import annotations

from scheduler.core.view import View
from scheduler.policies.books import Books, Entry, S
from scheduler.policies.history import History


class Expected:
    def __init__(self) -> None:
        self._history = History()

    def follow(self, view: View, books: Books) -> None:
        """To be called before the books forget who ended."""
        for number in view.changed:
            entry = books.entries.get(number)
            if entry is not None and number not in view.jobs:
                had_us = self.had_us(view, entry)
                self._history.ended(entry.spec.tenant, entry.spec.count, had_us / S)

    def had_us(self, view: View, entry: Entry) -> int:
        service_us = entry.service_us + (view.now_us - entry.since_us) * entry.slices
        return service_us // entry.spec.count

    def left_us(self, view: View, entry: Entry) -> int:
        had_s = self.had_us(view, entry) / S
        return round(self._history.expect_s(entry.spec.tenant, entry.spec.count, had_s) * S)
