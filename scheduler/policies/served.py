"""How many replicas a served model needs: a forecast of arrivals, and a queue.

Every step: forecast the rate of requests one start-up ahead (`Forecast`: Holt's linear trend,
damped, with the error that it has made so far), then take the fewest replicas of which the queue
model (`late_share`, an M/G/c queue) says that enough requests are within the objective, averaged
over what the rate may be. What was attained corrects the model: while fewer are late than may be,
the next steps may be late more often.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

from scheduler.errors import Infeasible

NORMAL = NormalDist()
QUANTILES = tuple(NORMAL.inv_cdf((n + 0.5) / 24) for n in range(24))  # the rate may be any of these
MAX_REPLICAS = 100_000
SERVICES = 1000  # finished requests from which the services' mean and variance are taken
SLACK = 20.0  # late requests
HARDLY = 0.1  # of a service: a request waits so long where it is late even if it does not wait
KEPT = 0.8  # of the late requests that are allowed, so many are used
LEARNED = 1000  # requests before which nothing is taken away


@dataclass(frozen=True, slots=True)
class Objective:
    """The first token (or the answer, of a model that has one) comes within `first_s`, for `share`
    of all requests."""

    first_s: float
    share: float = 0.99

    def __post_init__(self) -> None:
        if not (0 < self.first_s < math.inf and 0 < self.share < 1):
            raise Infeasible(
                f"an objective of {self.first_s:g} s for a share of {self.share:g}: a time above 0 "
                "and a share between 0 and 1, as 0.99"
            )


@dataclass(frozen=True, slots=True)
class Served:
    """A request that ended: it held its slot for `service_s`; `first_s` of that (alone, without
    its wait) passed before its first token."""

    service_s: float
    first_s: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What an autoscaler is told at the end of a step.

    arrived          requests in the step
    ended            what became of those that ended in it
    waiting          requests that wait for a slot
    answered, late   first tokens since the beginning; how many of them came too late
    replicas         there are, those that start included
    """

    at_s: float
    arrived: int
    ended: Sequence[Served]
    waiting: int
    answered: int
    late: int
    replicas: int


class Autoscaler(Protocol):
    def replicas(self, seen: Seen) -> int:
        """How many there shall be from now on; those that are new take their start-up time."""
        ...


class Forecast:
    """Requests a step, by Holt's linear trend, damped. `error`: the standard deviation of what it
    said `ahead` steps before against what came, learned as it goes."""

    def __init__(
        self, ahead: int, level: float = 0.15, trend: float = 0.04, damping: float = 0.9
    ) -> None:
        self.ahead, self.level, self.trend, self.damping = ahead, level, trend, damping
        self._level: float | None = None
        self._trend = 0.0
        self._counts = 1
        self._said: deque[float] = deque(maxlen=ahead + 1)
        self._variance = 0.0

    def add(self, count: int) -> None:
        if self._level is None:
            self._level, self._variance = float(count), float(max(count, 1))
        else:
            self._counts += 1
            before = self._level
            expected = before + self.damping * self._trend
            self._level = expected + max(self.level, 1 / self._counts) * (count - expected)
            step = self._level - before
            self._trend += self.trend * (step - self._trend)
            if len(self._said) > self.ahead:
                error = min((count - self._said[0]) ** 2, 9 * self._variance)
                self._variance += 0.05 * (error - self._variance)
        self._said.append(self.mean)

    @property
    def mean(self) -> float:
        """Requests in the step that is `ahead` steps away."""
        steps = sum(self.damping**n for n in range(1, self.ahead + 1))
        return max(0.0, (self._level or 0.0) + steps * self._trend)

    @property
    def variance(self) -> float:
        """Of the count in that step: of its chance and of the forecast together."""
        return self._variance


def late_share(
    rate: float,
    service_s: float,
    scv: float,
    servers: int,
    wait_s: float,
    horizon_s: float,
    queued: float = 0.0,
) -> float:
    """The share of requests that wait longer than `wait_s`, `horizon_s` after the rate has become
    this: Erlang C for the share that waits at all, times the tail of a Brownian motion reflected
    at 0, which is what the work in a busy queue comes to. After a long time that is the known
    exponential tail of M/G/c (Allen and Cunneen); before, an overload has not yet lasted.

    scv: of arrivals and services together, the mean of the squared coefficients of variation of
    both; 1 is Poisson arrivals and exponential services. queued: requests that wait already.
    """
    load = rate * service_s
    if load <= 0:
        return 0.0
    waits = erlang_c(load, servers) if servers > load and not queued else 1.0
    drift = load - servers
    # By the servers, not by the load: near full load the same, and below it the known tail.
    deviation = math.sqrt(2 * max(load, servers) * service_s * scv * horizon_s)
    high, moved = servers * wait_s, queued * service_s + drift * horizon_s
    mirrored = 2 * drift * high * horizon_s / deviation**2
    tail = NORMAL.cdf((moved - high) / deviation)
    if mirrored < 700:  # beyond, the other factor is 0
        tail += math.exp(mirrored) * NORMAL.cdf(-(high + moved) / deviation)
    return waits * min(1.0, tail)


def erlang_c(load: float, servers: int) -> float:
    """The share of requests that must wait, Poisson arrivals, exponential services."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return servers * blocked / (servers - load * (1 - blocked))


def fewest(
    rate: float,
    rate_deviation: float,
    service_s: float,
    scv: float,
    slots: int,
    wait_s: float,
    late: float,
    horizon_s: float,
    queued: float = 0.0,
) -> int:
    """The fewest replicas of `slots` each with at most a share `late` of requests that wait longer
    than `wait_s`, where the rate itself is known up to a normal deviation."""

    def share(replicas: int) -> float:
        servers = replicas * slots
        return sum(
            late_share(
                max(0.0, rate + z * rate_deviation),
                service_s,
                scv,
                servers,
                wait_s,
                horizon_s,
                queued,
            )
            for z in QUANTILES
        ) / len(QUANTILES)

    low, high = 0, 1
    while share(high) > late:
        low, high = high, 2 * high
        if high > MAX_REPLICAS:
            raise Infeasible(
                f"{rate:.3g} requests/s of {service_s:.3g} s each need more than "
                f"{MAX_REPLICAS} replicas of {slots} slots to wait at most {wait_s:.3g} s"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if share(middle) <= late else (middle, high)
    return high


class Forecasting:
    """The autoscaler. `first_s` of `Objective` less what a prompt takes is what a request may wait.

    Scaling down waits until `patience` steps in a row would have done with fewer, and goes then to
    the most of what they wanted; nothing is taken away before `learned` requests were answered. The
    share of late requests that the queue model is asked for is corrected by what was attained
    (`_correct`).
    """

    def __init__(
        self,
        objective: Objective,
        slots: int,
        step_s: float,
        start_s: float,
        prior: Served,
        patience: int = 1,
        learned: int = LEARNED,
    ) -> None:
        self.objective, self.slots = objective, slots
        self.step_s, self.start_s = step_s, start_s
        # A decision takes hold after the start-up, and holds for the step that follows it.
        ahead = max(1, math.ceil(start_s / step_s) + 1)
        self.forecast = Forecast(ahead)
        self._served: deque[Served] = deque([prior], maxlen=SERVICES)
        self._recent: deque[int] = deque(maxlen=patience)
        self._learned = learned
        self._factor = 1.0
        self._answered = self._late = 0

    def replicas(self, seen: Seen) -> int:
        self.forecast.add(seen.arrived)
        self._served.extend(seen.ended)
        self._correct(seen)
        if seen.answered < self._learned:
            return max(seen.replicas, self._wanted(seen))
        self._recent.append(self._wanted(seen))
        return max(self._recent[-1], min(seen.replicas, max(self._recent)))

    def _wanted(self, seen: Seen) -> int:
        count = len(self._served)
        mean_s = sum(s.service_s for s in self._served) / count
        scv = sum((s.service_s - mean_s) ** 2 for s in self._served) / count / mean_s**2
        first_s = sum(s.first_s for s in self._served) / count
        mean = self.forecast.mean
        # Beyond what chance alone does to a count (its mean), the error is the rate's.
        excess = max(0.0, self.forecast.variance - mean)
        late = (1 - self.objective.share) * self._factor
        return fewest(
            mean / self.step_s,
            math.sqrt(excess) / self.step_s,
            mean_s,
            (1 + scv) / 2,
            self.slots,
            max(mean_s * HARDLY, self.objective.first_s - first_s),
            min(late, 0.5),
            self.step_s + self.start_s,
            seen.waiting,
        )

    def _correct(self, seen: Seen) -> None:
        """The model errs on the safe side (an error of the forecast does not last), so it begins
        at 4. Each `SLACK` requests more or fewer that may still be late are a factor e."""
        slack = KEPT * (1 - self.objective.share) * seen.answered - seen.late
        self._factor = 4 * math.exp(max(-2.5, min(1.0, slack / SLACK)))
