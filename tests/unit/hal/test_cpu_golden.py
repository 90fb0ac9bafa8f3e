"""The CPU as a stand-in for an FPGA: an overlay's kernel, computed by its golden model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from hal import Context, ProgramImage, ScalarArg, open_device
from hal.errors import DeviceFault, ProgramRejected
from hal.types import Arg
from rtl_sim.model.npu import Npu
from rtl_sim.model.selftest import lstm_case
from rtl_sim.spec.npu import CONFIGS, KERNEL_NAME, STATS_BYTES, Stat, Status

CONFIG = CONFIGS["nano"]
IMAGE = ProgramImage("golden", b"npu-nano")


@pytest.fixture
def context() -> Iterator[Context]:
    with open_device("cpu:0") as device, device.open_context() as context:
        yield context


class Case:
    """An LSTM with its buffers in a context."""

    def __init__(self, context: Context) -> None:
        self.net, self.inputs = lstm_case(CONFIG)
        self.context, vector = context, CONFIG.vector_bytes
        self.output_bytes = self.net.output_vectors * vector
        contents = (self.net.program, self.net.weights, self.inputs)
        self.buffers = [context.alloc(len(content)) for content in contents]
        for buffer, content in zip(self.buffers, contents, strict=True):
            context.write(buffer, content)
        self.output, self.stats = context.alloc(self.output_bytes), context.alloc(STATS_BYTES)
        counts = (
            len(self.net.program) // 8,
            len(self.net.weights) // vector,
            len(self.inputs) // vector,
            self.net.output_vectors,
        )
        self.args: list[Arg] = [each.arg() for each in (*self.buffers, self.output, self.stats)]
        self.args += [ScalarArg.u32(count) for count in counts]


def test_the_kernel_gives_the_golden_models_bits_and_its_counters(context: Context) -> None:
    case = Case(context)
    done = Npu(CONFIG).launch(case.net.program, case.net.weights, case.inputs, case.output_bytes)
    for _ in range(2):  # a launch sees nothing of the one before
        context.launch(context.load(IMAGE), KERNEL_NAME, case.args)
        assert context.read(case.output) == done.output
        stats = np.frombuffer(context.read(case.stats), "<u4")
        np.testing.assert_array_equal(stats, done.stats[0])
    assert stats[Stat.STATUS] == Status.OK and stats[Stat.CYCLES] == 0


@pytest.mark.parametrize(
    "image",
    [
        ProgramImage("golden", b"npu-giant"),
        ProgramImage("golden", b"nano"),
        ProgramImage("golden", b"\xff\x00"),
        replace(IMAGE, options="-O3"),
    ],
)
def test_an_image_without_a_golden_model_is_refused(context: Context, image: ProgramImage) -> None:
    with pytest.raises(ProgramRejected, match="golden model of npu-nano"):
        context.load(image)


def test_a_launch_that_does_not_fit_the_kernel_is_refused(context: Context) -> None:
    case, program = Case(context), context.load(IMAGE)
    with pytest.raises(ProgramRejected, match="entry is npu"):
        context.launch(program, "gpu", case.args)
    with pytest.raises(ProgramRejected, match="it takes"):
        context.launch(program, KERNEL_NAME, case.args[:-1])


@pytest.mark.parametrize(
    ("index", "arg", "what"),
    [
        (5, ScalarArg.u32(2**31), "n_instr says .* bytes; buffer program has"),
        (8, ScalarArg.u32(999), "n_output says .* bytes; buffer output has"),
        (6, ScalarArg(bytes(8)), "n_weights has 8 bytes"),
    ],
)
def test_sizes_beyond_the_buffers_are_a_fault(
    context: Context, index: int, arg: ScalarArg, what: str
) -> None:
    case = Case(context)
    case.args[index] = arg
    context.launch(context.load(IMAGE), KERNEL_NAME, case.args)
    with pytest.raises(DeviceFault, match=what):
        context.finish()
