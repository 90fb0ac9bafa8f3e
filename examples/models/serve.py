"""A session that changes devices: `python examples/models/serve.py models/lstm.onnx`

A net reads an image row by row and says after each what it takes it for. Half way the session's
state is stored, and another device goes on from it. Devices are named in DEVICES, two URIs; the
default is a simulated FPGA, then the CPU that computes as it does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

import hal
from hal.serving import State

model = Path(sys.argv[1] if len(sys.argv) > 1 else "models/lstm.onnx")
first, second = os.environ.get("DEVICES", "fpga-sim:0 cpu:0").split()
samples = np.load(model.with_suffix(".npz"))  # held out by train.py
rows, label = samples["x"][0], samples["labels"][0]  # [8 rows, 1, 8 pixels]

with hal.serve(model, device=first, dims={"steps": 1}) as m:
    s = m.session()
    for row in rows[:4]:
        p = s(row[None])
        print(f"{m.device}: row {s.calls}, it is a {p.argmax()} at {p.max():.0%}")
    kept = s.state().to_bytes()

print(f"{len(kept)} bytes: {', '.join(State.from_bytes(kept).arrays)}")

with hal.serve(model, device=second, dims={"steps": 1}) as m:
    s = m.session(State.from_bytes(kept))
    for row in rows[4:]:
        p = s(row[None])
        print(f"{m.device}: row {s.calls}, it is a {p.argmax()} at {p.max():.0%}")

with hal.serve(model, device=first, dims={"steps": 8}) as m:
    same = np.array_equal(m(rows), p)
    print(f"{m.device}: all rows in one launch of {m.last_cycles} cycles, same bits: {same}")
print(f"it was a {label}")
