"""One decision and what comes of it: the example of docs/how-a-decision-is-made.md.

    python examples/decision.py decision.jsonl && haltere replay decision.jsonl

Two nodes of four GPUs, in simulated time: two basic jobs fill them, a premium gang comes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scheduler.core.events import DeviceAdded, JobSubmitted
from scheduler.core.machine import Machine
from scheduler.core.values import JobSpec
from scheduler.decider import describe
from scheduler.journal import Journal
from scheduler.loop import Loop
from scheduler.policies.elastic import Elastic
from scheduler.sim.costs import Costs
from scheduler.sim.executor import SimExecutor

S = 1_000_000  # all times are in microseconds


def job(name: str, tenant: str, tier: str, count: int, least: int = 0, most: int = 0) -> JobSpec:
    curve = ((most, (most / count) ** 0.8),) if most > count else ()  # its speed on more slices
    return JobSpec(
        name, tenant, tier, "gpu", ["work"],
        count=count, least=least, most=most, curve=curve, recovery="checkpoint",
    )  # fmt: skip


COMES = (  # when, for how long on what it asks for, what it asks for
    (0, 3600, job("train", "ann", "basic", 4, least=1, most=8)),
    (60, 1800, job("sweep", "bob", "basic", 4)),
    (600, 900, job("launch", "cleo", "premium", 6)),
    (630, 600, job("report", "dora", "standard", 4)),
    (660, 600, job("probe", "bob", "basic", 2)),
)


def main(path: Path) -> None:
    nodes = {"node0": "V100", "node1": "V100"}
    executor = SimExecutor(Costs(), nodes, work_us=lambda number: COMES[number - 1][1] * S)
    executor.feed(DeviceAdded(0, node, "gpu", part, 4) for node, part in nodes.items())
    executor.feed(
        JobSubmitted(at_s * S, number, spec) for number, (at_s, _, spec) in enumerate(COMES, 1)
    )
    machine, policy = Machine(), Elastic()
    path.unlink(missing_ok=True)
    journal = Journal(path, durable=False, about=describe(policy, machine.params))
    loop = Loop(machine, policy, executor, [journal])
    while loop.step():
        pass
    journal.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/decision.py JOURNAL")
    main(Path(sys.argv[1]))
