"""A self test set up in a context: its buffers, its program, ready to launch and to judge.

Used by `python -m hal` and by the conformance suite, so that both prove the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass

from hal.context import Buffer, Context, Device, Program
from hal.errors import HalError
from hal.registry import open_device
from hal.types import Arg, ScalarArg, SelfTest

SMOKE_TIMEOUT_S = 120.0  # a simulated FPGA takes seconds; more is a hang


@dataclass(frozen=True, slots=True)
class Workload:
    test: SelfTest
    context: Context
    program: Program
    args: tuple[Arg, ...]
    buffers: tuple[Buffer, ...]  # in the order of the arguments
    outputs: tuple[Buffer, ...]

    def launch(self) -> None:
        self.context.launch(self.program, self.test.entry, self.args, self.test.grid)

    def read(self) -> tuple[bytes, ...]:
        """The outputs after everything enqueued so far."""
        return tuple(self.context.read(buffer) for buffer in self.outputs)


def prepare(context: Context, test: SelfTest, *, fill: bool = True) -> Workload:
    """The test's objects, created in one fixed order. Without `fill` nothing is written, as a
    context that is about to continue another's work needs it."""
    args: list[Arg] = []
    buffers: list[Buffer] = []
    outputs: list[Buffer] = []
    for kind, value in test.args:
        if kind == "scalar":
            assert isinstance(value, bytes)
            args.append(ScalarArg(value))
            continue
        buffer = context.alloc(value if isinstance(value, int) else len(value))
        if isinstance(value, int):
            outputs.append(buffer)
        elif fill:
            context.write(buffer, value)
        buffers.append(buffer)
        args.append(buffer.arg())
    program = context.load(test.image)
    return Workload(test, context, program, tuple(args), tuple(buffers), tuple(outputs))


def smoke(uri: str, test: SelfTest) -> str | None:
    """Run one self test on a device of its own: None when it is right, else the reason."""
    try:
        with open_device(uri, test.overlay) as device:
            return _judge(device, test)
    except HalError as error:
        return f"{type(error).__name__}: {error}"


def _judge(device: Device, test: SelfTest) -> str | None:
    with device.open_context() as context:
        work = prepare(context, test)
        work.launch()
        context.finish(SMOKE_TIMEOUT_S)
        for index, (found, expected) in enumerate(zip(work.read(), test.expected, strict=True)):
            if found != expected:
                at = next(
                    i
                    for i, pair in enumerate(zip(found, expected, strict=True))
                    if len(set(pair)) > 1
                )
                return f"output {index} differs first at byte {at} of {len(expected)}"
    return None
