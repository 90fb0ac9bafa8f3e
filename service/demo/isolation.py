"""Act 4: two workers share a device; one is killed with kill -9; the other does not notice."""

from __future__ import annotations

import signal

from service.demo.nets import digest, load_weights
from service.demo.show import Show, await_text, busy, start_trainer

STEPS = 3000  # of the small net: a few seconds
SEED = 5
TIMEOUT_S = 120.0


def act(show: Show, device: str = "opencl:0") -> None:
    alone = show.report / "alone.npz"
    tenant, victim = show.report / "tenant.npz", show.report / "victim.npz"
    proxied = {
        "HALTERE_DEVICE": f"proxy:{device}",
        "HALTERE_PROXY_ROOT": str(show.pool.root),
    }
    with busy(show.console) as progress:
        progress.add_task(f"two workers share {device}; one is killed")
        started = [
            start_trainer(alone, "mlp", STEPS, SEED, {"HALTERE_DEVICE": device}),
            start_trainer(tenant, "mlp", STEPS, SEED, proxied),
            start_trainer(victim, "mlp", 100 * STEPS, SEED + 1, proxied),
        ]
        await_text(victim.with_suffix(".log"), "step")
        started[2].send_signal(signal.SIGKILL)
        codes = [process.wait(TIMEOUT_S) for process in started]
    show.check("a worker died by a signal in mid-run", "signal 9", f"signal {-codes[2]}")
    show.check("its device's other tenant finished", "exit status 0", f"exit status {codes[1]}")
    if codes[:2] == [0, 0]:
        show.check(
            "with the weights of a worker that was alone",
            digest(load_weights(alone)),
            digest(load_weights(tenant)),
        )
