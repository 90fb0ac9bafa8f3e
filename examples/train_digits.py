"""Train a classifier on a device with kernels of your own: `python examples/train_digits.py`.

Softmax regression on the digits images that scikit-learn ships. The two kernels are OpenCL C; the
hal carries them to whatever device HALTERE_DEVICE names. Try it on another one,

    HALTERE_DEVICE=opencl:1 python examples/train_digits.py

or through a proxy (`haltere proxy opencl:0`), where the run can be halted and
moved while it goes on:

    HALTERE_DEVICE=proxy:opencl:0 python examples/train_digits.py

The program is the same, and so is the digest that it prints.
"""

from __future__ import annotations

import hashlib
import os
import sys

import numpy as np
from sklearn.datasets import load_digits

import hal

PIXELS, CLASSES, RATE = 64, 10, 2.0
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 300

KERNELS = """
#pragma OPENCL FP_CONTRACT OFF

/* One work item an image: how far its class probabilities are off. */
__kernel void errors(__global const float *images, __global const int *labels,
                     __global const float *weights, const int pixels, __global float *off)
{
    const int image = get_global_id(0);
    float power[10], total = 0.0f;
    for (int k = 0; k < 10; k++) {
        float sum = weights[pixels * 10 + k];
        for (int p = 0; p < pixels; p++)
            sum += images[image * pixels + p] * weights[p * 10 + k];
        power[k] = exp(sum);
        total += power[k];
    }
    for (int k = 0; k < 10; k++)
        off[image * 10 + k] = power[k] / total - (labels[image] == k ? 1.0f : 0.0f);
}

/* One work item a weight: down the slope. The last row of weights is the bias. */
__kernel void update(__global const float *images, __global const float *off, const int count,
                     const int pixels, const float rate, __global float *weights)
{
    const int k = get_global_id(0), p = get_global_id(1);
    float slope = 0.0f;
    for (int image = 0; image < count; image++)
        slope += (p < pixels ? images[image * pixels + p] : 1.0f) * off[image * 10 + k];
    weights[p * 10 + k] -= rate * slope / (float)count;
}
"""

pixels, targets = load_digits(return_X_y=True)
images, labels = (pixels / 16).astype(np.float32), targets.astype(np.int32)
count = len(images) * 4 // 5  # the rest is held out

i32, f32 = hal.ScalarArg.i32, hal.ScalarArg.f32
with (
    hal.open_device(os.environ.get("HALTERE_DEVICE", "opencl:0")) as device,
    device.open_context() as context,
):
    program = context.load(hal.ProgramImage("opencl-c", KERNELS.encode()))
    x = context.alloc(images[:count].nbytes)
    y = context.alloc(labels[:count].nbytes)
    off = context.alloc(4 * count * CLASSES)
    weights = context.alloc(4 * (PIXELS + 1) * CLASSES)  # buffers start as zeros
    context.write(x, images[:count].tobytes())
    context.write(y, labels[:count].tobytes())

    for step in range(1, STEPS + 1):  # a launch only enqueues; the device works behind our back
        context.launch(
            program,
            "errors",
            [x.arg(), y.arg(), weights.arg(), i32(PIXELS), off.arg()],
            hal.Grid((count,)),
        )
        context.launch(
            program,
            "update",
            [x.arg(), off.arg(), i32(count), i32(PIXELS), f32(RATE), weights.arg()],
            hal.Grid((CLASSES, PIXELS + 1)),
        )
        if step % 100 == 0:
            context.finish()
            print(f"step {step}/{STEPS}", flush=True)
    result = context.read(weights)

w = np.frombuffer(result, np.float32).reshape(PIXELS + 1, CLASSES)
right = (images @ w[:PIXELS] + w[PIXELS]).argmax(1) == labels
print(f"accuracy: train {right[:count].mean():.4f}, held out {right[count:].mean():.4f}")
print(f"sha256 {hashlib.sha256(result).hexdigest()}")
