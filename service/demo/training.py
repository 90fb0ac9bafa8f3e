"""Act 1: a training job is preempted at an arbitrary step and goes on on the other device.

Two devices, two jobs: alpha's training (basic) and beta's (standard). Then gamma's (premium)
arrives. That alpha has to make room, and where it goes on, is the scheduler's decision.
"""

from __future__ import annotations

import time
from pathlib import Path

from scheduler.live.pool import JobSpec, Tier
from service.demo.nets import digest, load_weights
from service.demo.show import Show, await_text, busy, start_trainer, trainer_argv

STEPS = 1500  # of each net: past 95 % on held-out images
OTHER_STEPS = 8000  # beta's, of the small net: still at work when gamma arrives
URGENT_STEPS = 12000  # gamma's: still at work when beta is done, so alpha goes to beta's device
SEED = 0
TRAIN_TIMEOUT_S = 300.0
ARRIVAL_S = (0.5, 2.5)  # after alpha's first report, drawn by the demo's seed
LOOK_S = 0.05


def reference(folder: Path) -> Path:
    """The same training, uninterrupted and without a proxy."""
    out = folder / "uninterrupted.npz"
    process = start_trainer(out, "both", STEPS, SEED, {"HALTERE_DEVICE": "opencl:0"})
    code = process.wait(TRAIN_TIMEOUT_S)
    if code:
        raise RuntimeError(
            f"the reference training ended with {code}: see {out.with_suffix('.log')}"
        )
    return out


def act(show: Show, uninterrupted: Path) -> Path:
    """Returns the weights of the run that was halted."""
    pool = show.pool
    halted = show.report / "halted.npz"

    def spec(name: str, tenant: str, tier: Tier, out: Path, net: str, steps: int) -> JobSpec:
        return JobSpec(
            name, tenant, tier, "opencl", argv=tuple(trainer_argv(out, net, steps, SEED))
        )

    def submit(spec: JobSpec) -> int:
        job = pool.submit(spec)
        show.names[job] = spec.name
        return job

    with busy(show.console) as progress:
        task = progress.add_task("alpha (basic) and beta (standard) start training")
        alpha = submit(spec("train", "alpha", Tier.BASIC, halted, "both", STEPS))
        beta = submit(
            spec("other", "beta", Tier.STANDARD, show.report / "beta.npz", "mlp", OTHER_STEPS)
        )
        first = pool.wait(alpha, TRAIN_TIMEOUT_S, ("running",)).device
        pool.wait(beta, TRAIN_TIMEOUT_S, ("running",))
        await_text(Path(pool.job(alpha).log), "step")
        time.sleep(show.rng.uniform(*ARRIVAL_S))
        progress.update(task, description="gamma (premium) arrives")
        gamma = submit(
            spec("urgent", "gamma", Tier.PREMIUM, show.report / "gamma.npz", "mlp", URGENT_STEPS)
        )
        devices = [first]
        for job, who in ((alpha, "alpha"), (beta, "beta"), (gamma, "gamma")):
            progress.update(task, description=f"waiting for {who} to finish")
            give_up = time.monotonic() + TRAIN_TIMEOUT_S
            while not pool.job(job).terminal and time.monotonic() < give_up:
                device = pool.job(alpha).device
                if device and device != devices[-1]:
                    devices.append(device)
                time.sleep(LOOK_S)

    ended = [pool.job(job).state for job in (alpha, beta, gamma)]
    show.check("all three training jobs succeeded", "3", str(ended.count("succeeded")))
    preemptions = pool.job(alpha).preemptions
    show.check("the scheduler halted alpha's training", ">= 1", preemptions, preemptions >= 1)
    show.check("it went on on another device", ">= 2", " -> ".join(devices), len(devices) >= 2)
    if ended[0] == "succeeded":
        show.check(
            "weights equal the uninterrupted run's, bit for bit",
            digest(load_weights(uninterrupted)),
            digest(load_weights(halted)),
        )
    return halted if halted.exists() else uninterrupted
