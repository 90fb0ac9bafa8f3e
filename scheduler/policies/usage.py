"""What tenants used of late, in octaves: who is first among equals.

Slice-time, halved at every half-life, over the tenant's own quota. Whole numbers, all halved at the
same moments: so the order between tenants changes only by what they use.
"""

from __future__ import annotations

from dataclasses import dataclass

from scheduler.policies.quotas import Quotas

S = 1_000_000
STEPS = 64  # of a half-life: less use than a quota's for so long is none


@dataclass(slots=True)
class _Used:
    holds: int = 0
    slice_us: int = 0


class Usage:
    def __init__(self, quotas: Quotas) -> None:
        self._half_us = quotas.half_life_s * S
        self._own = {
            tenant: max(1, sum(quotas.nodes[chain[0]].slices.values()))
            for tenant, chain in quotas.chains.items()
        }
        self._used: dict[str, _Used] = {}
        self._now_us = 0

    def holds(self, tenant: str, more: int) -> None:
        """From now on; call `until` before."""
        self._used.setdefault(tenant, _Used()).holds += more

    def until(self, now_us: int) -> None:
        while self._now_us < now_us:
            halved_us = (self._now_us // self._half_us + 1) * self._half_us
            step_us = min(now_us, halved_us)
            for used in self._used.values():
                used.slice_us += used.holds * (step_us - self._now_us)
                if step_us == halved_us:
                    used.slice_us //= 2
            self._now_us = step_us

    def octave(self, tenant: str) -> int:
        """0, 1, 2, ...: each is twice the use of the one before. A tenant that holds its quota all
        the time comes to about 7."""
        used = self._used.get(tenant)
        if used is None:
            return 0
        return (used.slice_us * STEPS // (self._own.get(tenant, 1) * self._half_us)).bit_length()
