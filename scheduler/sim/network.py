"""What carries messages between the levels: late, and if asked for it lossy, out of order, twice.

Seeded; messages of one moment come in the order in which they were sent.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.errors import Infeasible
from scheduler.hierarchy.messages import Message

S = 1_000_000


@dataclass(frozen=True, slots=True)
class Weather:
    """Seconds from holder to holder (`near`), between a region and its clusters (`middle`) and
    between it and the global level (`far`). `jitter`: up to so many times as long, by chance, so
    that messages overtake each other. Shares of messages that are lost, that come twice."""

    near_s: float = 0.005
    middle_s: float = 1.0
    far_s: float = 20.0
    jitter: float = 0.0
    lost: float = 0.0
    twice: float = 0.0

    def __post_init__(self) -> None:
        delays = (self.near_s, self.middle_s, self.far_s, self.jitter)
        if min(delays) < 0 or not (0 <= self.lost < 1 and 0 <= self.twice <= 1):
            raise Infeasible(f"{self}: delays from 0 on, shares of messages from 0 to 1")


@dataclass(frozen=True, slots=True)
class Outage:
    """`level`: global, region-N, front-N or cluster-N. It hears nothing and says nothing; what runs
    in a cluster goes on."""

    level: str
    from_s: float
    to_s: float


class Network:
    def __init__(self, weather: Weather, outages: Sequence[Outage], seed: int) -> None:
        self.counts: dict[str, int] = {}
        self.lost = 0
        self._weather = weather
        self._outages = tuple(outages)
        self._drawn = np.random.Generator(np.random.PCG64(seed))
        self._calm = not (weather.jitter or weather.lost or weather.twice)
        self._heap: list[tuple[int, int, str, Message]] = []
        self._sent = 0
        self._delays: dict[tuple[str, str], int] = {}

    def is_out(self, level: str, now_us: int) -> bool:
        return any(
            each.level == level and each.from_s * S <= now_us < each.to_s * S
            for each in self._outages
        )

    def send(self, now_us: int, source: str, target: str, message: Message) -> None:
        kind = type(message).__name__
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self._outages and self.is_out(source, now_us):
            self.lost += 1
            return
        weather = self._weather
        delay_us = self._delays.get((source, target))
        if delay_us is None:
            delay_us = round(_delay_s(weather, source, target) * S)
            self._delays[source, target] = delay_us
        if self._calm:
            self._put(now_us + delay_us, target, message)
            return
        for _ in range(1 + (self._drawn.random() < weather.twice)):
            if self._drawn.random() < weather.lost:
                self.lost += 1
                continue
            longer = 1 + weather.jitter * self._drawn.random()
            self._put(now_us + round(delay_us * longer), target, message)

    def _put(self, at_us: int, target: str, message: Message) -> None:
        self._sent += 1
        heapq.heappush(self._heap, (at_us, self._sent, target, message))

    def deliver(self, until_us: int, hear: Callable[[int, str, Message], None]) -> None:
        """All that arrives up to then, answers to it included."""
        while self._heap and self._heap[0][0] <= until_us:
            at_us, _, target, message = heapq.heappop(self._heap)
            if self._outages and self.is_out(target, at_us):
                self.lost += 1
            else:
                hear(at_us, target, message)

    def under_way(self) -> list[Message]:
        return [message for _, _, _, message in self._heap]


def _delay_s(weather: Weather, source: str, target: str) -> float:
    if source == "global" or target == "global":
        return weather.far_s
    if source.startswith("region") or target.startswith("region"):
        return weather.middle_s
    return weather.near_s
