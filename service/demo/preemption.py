"""Act 3: another overlay preempts an inference at whatever cycle it is in.

Both FPGAs are taken: delta's LSTM (basic) answers requests on one, beta holds the other (standard).
Then epsilon (premium) needs a checksum. The scheduler halts the LSTM, in the middle of an inference
or between two; the fabric is reconfigured; beta gives its FPGA back, and the LSTM goes on there.
Rounds are repeated until one of them has cut an inference in two.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from hal import Context, ProgramImage, ScalarArg
from hal.backends.fpga.overlays import overlay
from proxy.checkpoint import read
from proxy.client import connect
from proxy.store import Store
from rtl_sim.model import checksum
from scheduler.live.pool import JobSpec, Tier
from service.demo.client import Client
from service.demo.export import INPUT
from service.demo.nets import NETS
from service.demo.serving import Answer, samples
from service.demo.show import Show, busy
from service.gateway import Gateway

MAX_ROUNDS = 40  # most rounds meet a running kernel on an idle machine, one in seven on a busy one
ROUND_TIMEOUT_S = 60.0
PAUSE_S = (0.05, 0.25)  # of the stream before it is preempted, drawn by the demo's seed
CHECKSUM_BYTES = 20_000
LSTM = "lstm"


@dataclass(frozen=True, slots=True)
class Round:
    device: str  # that the LSTM was halted on
    next_device: str
    mid_kernel: bool
    checksum_right: bool


def act(show: Show, gateway: Gateway, port: int, expected: list[Answer]) -> None:
    gateway.remove("mlp")
    lstm = next(job for job, name in show.names.items() if name == LSTM)
    stream = _Stream(show, port, len(expected))
    rounds: list[Round] = []
    with stream, busy(show.console) as progress:
        task = progress.add_task("")
        while len(rounds) < MAX_ROUNDS and not any(one.mid_kernel for one in rounds):
            progress.update(task, description=f"halting the LSTM, round {len(rounds) + 1}")
            rounds.append(_round(show, lstm))
            done_before = stream.count
            give_up = time.monotonic() + ROUND_TIMEOUT_S
            while stream.count < done_before + 2 and time.monotonic() < give_up:
                time.sleep(0.01)
    cut = rounds[-1]
    show.check("an inference was halted between two of its cycles", "yes", _yes(cut.mid_kernel))
    show.check(
        "it was restored on the other FPGA",
        f"not {cut.device}",
        cut.next_device,
        bool(cut.next_device) and cut.next_device != cut.device,
    )
    show.check(
        f"the other overlay's results are right, {len(rounds)} times",
        "yes",
        _yes(all(one.checksum_right for one in rounds)),
    )
    seen = stream.answers
    wrong = sum(answer != expected[index % len(expected)] for index, answer in enumerate(seen))
    show.check(
        f"{len(seen)} inferences: outputs and cycle counts equal the uninterrupted run's",
        "0 differ",
        stream.error or f"{wrong} differ",
    )


def _round(show: Show, lstm: int) -> Round:
    pool = show.pool
    time.sleep(show.rng.uniform(*PAUSE_S))
    filler = JobSpec("filler", "beta", Tier.STANDARD, "fpga-sim")
    with pool.lease(filler, ROUND_TIMEOUT_S) as held:
        show.names[held.id] = "filler"
        device = pool.wait(lstm, ROUND_TIMEOUT_S, ("running",)).device
        time.sleep(show.rng.uniform(*PAUSE_S))
        urgent = pool.submit(JobSpec("checksum", "epsilon", Tier.PREMIUM, "fpga-sim"))
        show.names[urgent] = "checksum"
        granted = pool.wait(urgent, ROUND_TIMEOUT_S, ("running",))
        halted = pool.job(lstm)
        snapshot = read(halted.checkpoint, Store(pool.state_dir / "store")).snapshot
        mid_kernel = any(flight.kernel for flight in snapshot.flights)
        if mid_kernel:
            show.note(device, "halted inside an inference")
        right = _checksum(show, granted.device, granted.session)
    # beta left first, so that the LSTM goes on on beta's device
    next_device = pool.wait(lstm, ROUND_TIMEOUT_S, ("running",)).device
    pool.finish(urgent)
    return Round(device, next_device, mid_kernel, right)


def _checksum(show: Show, device_uri: str, session: str) -> bool:
    data = show.rng.randbytes(CHECKSUM_BYTES)
    built = overlay("checksum")
    with connect(device_uri, root=show.pool.root, session=session) as device:
        device.configure(built)
        with device.open_context() as context:
            seen = _run_checksum(context, built.digest, data)
    return seen == checksum.result(data, checksum.cycles(len(data)))


def _run_checksum(context: Context, digest: str, data: bytes) -> bytes:
    program = context.load(ProgramImage("overlay", digest.encode()))
    source, result = context.alloc(len(data)), context.alloc(checksum.RESULT_BYTES)
    context.write(source, data)
    context.launch(program, "checksum", [source.arg(), result.arg(), ScalarArg.u32(len(data))])
    return context.read(result)


def _yes(true: bool) -> str:
    return "yes" if true else "no"


class _Stream:
    """A client that sends the held-out images to the LSTM, again and again, one by one."""

    def __init__(self, show: Show, port: int, count: int) -> None:
        self.answers: list[Answer] = []
        self.error = ""
        self._port = port
        self._inputs = samples(NETS[LSTM](), show.digits.held_out_images[:count])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    @property
    def count(self) -> int:
        return len(self.answers)

    def _run(self) -> None:
        try:
            with Client("127.0.0.1", self._port) as client:
                while not self._stop.is_set():
                    x = self._inputs[self.count % len(self._inputs)]
                    self.answers.append(client.infer(LSTM, INPUT[LSTM], x))
        except (OSError, RuntimeError) as error:
            self.error = f"{type(error).__name__}: {error}"

    def __enter__(self) -> _Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(ROUND_TIMEOUT_S)
