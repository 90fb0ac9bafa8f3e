"""Many conversations with one device: `python examples/models/serve_async.py models/lstm.onnx`

Each reads an image row by row in a session of its own; the device takes the calls in turn. The
queue is shorter than the crowd, so some calls are refused and come again. DEVICE names the device.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import numpy as np

import hal
from hal.errors import Busy
from hal.serving import AsyncModel

model = Path(sys.argv[1] if len(sys.argv) > 1 else "models/lstm.onnx")
samples = np.load(model.with_suffix(".npz"))
refused = 0


async def read(m: AsyncModel, rows: np.ndarray) -> int:
    global refused
    s = m.session()
    for row in rows:
        while True:
            try:
                p = await s(row[None])
                break
            except Busy:  # a bounded queue says so at once; what to do is the caller's choice
                refused += 1
                await asyncio.sleep(0.005)
    return int(p.argmax())


async def main() -> None:
    device = os.environ.get("DEVICE", "fpga-sim:0")
    async with hal.serve_async(model, device, dims={"steps": 1}, max_pending=8) as m:
        answers = await asyncio.gather(*(read(m, rows) for rows in samples["x"][:32]))
    right = np.equal(answers, samples["labels"][:32]).mean()
    print(f"{len(answers)} images, {right:.0%} right; calls refused by the queue: {refused > 0}")


asyncio.run(main())
