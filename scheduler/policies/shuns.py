"""Devices on which starts fail, of different jobs or of one twice in a row (`core.failures`): they
are avoided (`avoided`), while those that run there stay. The first start that succeeds, or a
failure that turns out to be the job's own, ends that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.core.view import View
from scheduler.policies.avoided import Avoided
from scheduler.policies.round import ElasticParams

CONFIRMED = 2  # failures in a row


@dataclass(slots=True)
class Shuns:
    params: ElasticParams
    avoided: Avoided
    _seen: dict[str, int] = field(default_factory=dict)  # device -> failures that it was blamed for
    _shunned: set[str] = field(default_factory=set)

    def follow(self, view: View) -> None:
        blamed = view.failures.blamed()
        for uri in [uri for uri in self._seen if uri not in blamed]:
            del self._seen[uri]
            if uri in self._shunned:
                self._shunned.discard(uri)
                self.avoided.is_well(uri)
        for uri, count in blamed.items():
            is_bad = count >= CONFIRMED and count > self._seen.get(uri, 0)
            self._seen[uri] = count
            if is_bad and self.avoided.add(view, uri, self.params.shun_s):
                self._shunned.add(uri)
