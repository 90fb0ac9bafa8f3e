"""Train data-parallel: as many processes as there are ranks, each with its share of the images.

    python examples/train_gang.py --ranks 4

Softmax regression on the digits that scikit-learn ships. Each rank computes the slope of its share
on an OpenCL device; the slopes meet over a Unix socket and are added in the order of the ranks, so
the losses are the same, digit for digit, on every run. The program is an ordinary one, it knows
nothing of haltere: a pool that runs it as a gang may stop it, move its ranks to other devices and
have several take turns on one, and the losses are still the same (see `resize_gang.py`).

Whoever starts the ranks says who each is: HALTERE_RANK, HALTERE_WORLD_SIZE, HALTERE_RENDEZVOUS (a
folder). Without these the program starts them by itself.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

import numpy as np
import pyopencl as cl
from sklearn.datasets import load_digits

PIXELS, CLASSES, RATE = 64, 10, 2.0
MEET_S = 60.0

KERNELS = """
#pragma OPENCL FP_CONTRACT OFF

/* One work item an image: its loss, and how far its class probabilities are off. */
kernel void errors(global const float *images, global const int *labels,
                   global const float *weights, global float *off, global float *losses)
{
    const int image = get_global_id(0);
    float power[CLASSES], total = 0.0f;
    for (int k = 0; k < CLASSES; k++) {
        float sum = weights[PIXELS * CLASSES + k];
        for (int p = 0; p < PIXELS; p++)
            sum += images[image * PIXELS + p] * weights[p * CLASSES + k];
        power[k] = exp(sum);
        total += power[k];
    }
    for (int k = 0; k < CLASSES; k++)
        off[image * CLASSES + k] = power[k] / total - (labels[image] == k ? 1.0f : 0.0f);
    losses[image] = log(total / power[labels[image]]);
}

/* One work item a weight; the last row is the bias. */
kernel void slopes(global const float *images, global const float *off, const int count,
                   global float *slope)
{
    const int k = get_global_id(0), p = get_global_id(1);
    float sum = 0.0f;
    for (int image = 0; image < count; image++)
        sum += (p < PIXELS ? images[image * PIXELS + p] : 1.0f) * off[image * CLASSES + k];
    slope[p * CLASSES + k] = sum;
}

kernel void descend(global float *weights, global const float *slope, const float rate)
{
    weights[get_global_id(0)] -= rate * slope[get_global_id(0)];
}
"""


class Peers:
    """The other ranks: every rank gets the sum of what all have, added in their order."""

    def __init__(self, rank: int, world: int, folder: Path) -> None:
        self._links: list[Connection] = []
        address = str(folder / "ranks")
        if rank == 0 and world > 1:
            with Listener(address, "AF_UNIX", backlog=world) as listener:
                found = {}
                while len(found) < world - 1:
                    link = listener.accept()
                    found[link.recv()] = link
            self._links = [found[other] for other in range(1, world)]
        elif rank:
            self._links = [meet(address)]
            self._links[0].send(rank)
        self._leads = rank == 0

    def sum(self, mine: np.ndarray) -> np.ndarray:
        if not self._leads:
            self._links[0].send_bytes(mine.tobytes())
            return np.frombuffer(self._links[0].recv_bytes(), mine.dtype).reshape(mine.shape)
        total = mine.copy()
        for link in self._links:
            total += np.frombuffer(link.recv_bytes(), mine.dtype).reshape(mine.shape)
        for link in self._links:
            link.send_bytes(total.tobytes())
        return total


def meet(address: str) -> Connection:
    give_up = time.monotonic() + MEET_S
    while True:
        try:
            return Client(address, "AF_UNIX")
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)


def train(rank: int, world: int, folder: Path, steps: int, every: int, pace_s: float) -> None:
    pixels, targets = load_digits(return_X_y=True)
    images = np.ascontiguousarray((pixels / 16).astype(np.float32)[rank::world])
    labels = targets.astype(np.int32)[rank::world].copy()
    count, everyone = len(images), np.float32(len(targets))

    context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
    queue = cl.CommandQueue(context)
    options = [f"-DPIXELS={PIXELS}", f"-DCLASSES={CLASSES}"]
    program = cl.Program(context, KERNELS).build(options)
    errors, slopes, descend = program.errors, program.slopes, program.descend
    shape = (PIXELS + 1, CLASSES)
    read, copied = cl.mem_flags.READ_ONLY, cl.mem_flags.COPY_HOST_PTR
    x = cl.Buffer(context, read | copied, hostbuf=images)
    y = cl.Buffer(context, read | copied, hostbuf=labels)
    weights = cl.Buffer(context, copied, hostbuf=np.zeros(shape, np.float32))
    off = cl.Buffer(context, 0, 4 * count * CLASSES)
    losses = cl.Buffer(context, 0, 4 * count)
    slope = cl.Buffer(context, 0, 4 * shape[0] * shape[1])

    peers = Peers(rank, world, folder)
    mine, loss = np.empty(shape, np.float32), np.empty(count, np.float32)
    for step in range(steps):
        errors(queue, (count,), None, x, y, weights, off, losses)
        slopes(queue, (CLASSES, PIXELS + 1), None, x, off, np.int32(count), slope)
        cl.enqueue_copy(queue, mine, slope)
        total = peers.sum(mine)
        cl.enqueue_copy(queue, slope, total)
        descend(queue, (total.size,), None, weights, slope, np.float32(RATE) / everyone)
        if step % every == 0 or step == steps - 1:
            cl.enqueue_copy(queue, loss, losses)
            sums = peers.sum(np.array([loss.sum(dtype=np.float64)]))
            if rank == 0:
                print(f"step {step:5d}  loss {float(sums[0]) / len(targets)!r}", flush=True)
        time.sleep(pace_s)
    result = np.empty(shape, np.float32)
    cl.enqueue_copy(queue, result, weights)
    if rank == 0:
        print(f"weights {hashlib.sha256(result.tobytes()).hexdigest()[:16]}", flush=True)


def start_ranks(world: int) -> int:
    """This program once for each rank."""
    with tempfile.TemporaryDirectory() as folder:
        more = {"HALTERE_WORLD_SIZE": str(world), "HALTERE_RENDEZVOUS": folder}
        ranks = [
            subprocess.Popen([sys.executable, *sys.argv], env=os.environ | more | rank)
            for rank in ({"HALTERE_RANK": str(rank)} for rank in range(world))
        ]
        return max(abs(rank.wait()) for rank in ranks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ranks", type=int, default=4, help="if nobody else has started them")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=20, help="print the loss of so many steps")
    parser.add_argument("--pace-ms", type=float, default=0, help="rest so long after each step")
    given = parser.parse_args()
    if "HALTERE_RANK" not in os.environ:
        return start_ranks(given.ranks)
    rank, world = int(os.environ["HALTERE_RANK"]), int(os.environ["HALTERE_WORLD_SIZE"])
    folder = Path(os.environ["HALTERE_RENDEZVOUS"])
    train(rank, world, folder, given.steps, given.every, given.pace_ms / 1000)
    return 0


if __name__ == "__main__":
    sys.exit(main())
