"""Images of format "numpy": what is accepted, what is refused and with which words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from hal import BufferArg, Context, Grid, ProgramImage, ScalarArg, open_device
from hal.errors import DeviceFault, ProgramRejected

GOOD = '''
"""Adds."""
STEP = 2

def add(grid, out: buffer, amount: scalar):
    u32(out)[: grid.global_size[0]] += u32(amount) * _step()

def _step():
    return np.uint32(STEP)
'''


@pytest.fixture
def context() -> Iterator[Context]:
    with open_device("cpu:0") as device, device.open_context() as context:
        yield context


def image(source: str) -> ProgramImage:
    return ProgramImage("numpy", source.encode())


def test_an_entry_changes_its_buffers(context: Context) -> None:
    program = context.load(image(GOOD))
    buffer = context.alloc(16)
    for _ in range(2):
        context.launch(program, "add", [buffer.arg(4), ScalarArg.u32(5)], Grid((2,)))
    assert np.frombuffer(context.read(buffer), np.uint32).tolist() == [0, 20, 20, 0]


def test_nothing_runs_before_it_is_waited_for(context: Context) -> None:
    program = context.load(image(GOOD))
    buffer = context.alloc(4)
    into = bytearray(4)
    context.launch(program, "add", [buffer.arg(), ScalarArg.u32(1)])
    context.read_into(buffer, into)
    assert into == bytes(4)
    context.finish()
    assert into == b"\2\0\0\0"


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("", "no entry"),
        ("def _helper(grid):\n    pass\n", "no entry"),
        ("def f(grid:\n", "compile"),
        ("import os\ndef f(grid):\n    pass\n", "top level"),
        ("def f(grid):\n    import os\n", "imports"),
        ("def f(grid):\n    from os import path\n", "imports"),
        ("while True:\n    pass\n", "top level"),
        ("N = 1 / 0\ndef f(grid):\n    pass\n", "ZeroDivisionError"),
        ("def f(grid, x):\n    pass\n", "annotate"),
        ("def f(grid, x: int):\n    pass\n", "annotate"),
        ("def f():\n    pass\n", "must take grid"),
        ("def f(grid, *xs):\n    pass\n", "must take grid"),
        ("def f(grid, x: buffer = None):\n    pass\n", "must take grid"),
        ("def f(grid):\n    return '\x00'\n", "compile"),
        ("x = " + "(" * 500 + ")" * 500, "compile"),
    ],
)
def test_bad_source_is_refused(context: Context, source: str, word: str) -> None:
    with pytest.raises(ProgramRejected, match=word):
        context.load(image(source))


def test_source_that_is_not_utf8_or_endless_is_refused(context: Context) -> None:
    for payload in (b"\xff\xfe", b"#" * (1 << 20) + b"\n"):
        with pytest.raises(ProgramRejected):
            context.load(ProgramImage("numpy", payload))
    with pytest.raises(ProgramRejected, match="options"):
        context.load(ProgramImage("numpy", GOOD.encode(), "-O3"))


def test_arguments_are_checked_by_number_and_kind(context: Context) -> None:
    program = context.load(image(GOOD))
    buffer = context.alloc(4).arg()
    for args in ([], [buffer], [ScalarArg.u32(1), buffer], [buffer, buffer]):
        with pytest.raises(ProgramRejected, match="takes"):
            context.launch(program, "add", args)
    assert isinstance(buffer, BufferArg)
    with pytest.raises(ProgramRejected, match="add"):
        context.launch(program, "_step", [])


def test_a_kernel_that_raises_is_a_fault_that_stays(context: Context) -> None:
    program = context.load(image("def f(grid, x: buffer):\n    u32(x)[99] = 1\n"))
    buffer = context.alloc(4)
    done = context.signal()
    context.launch(program, "f", [buffer.arg()])
    seq = context.signal()
    assert context.wait(done, 0.0)
    for _ in range(2):
        with pytest.raises(DeviceFault, match="IndexError"):
            context.wait(seq, 1.0)
    assert context.wait(done, 0.0)
    with pytest.raises(DeviceFault):
        context.halt()


def test_a_scalar_of_another_size_is_a_fault(context: Context) -> None:
    program = context.load(image(GOOD))
    context.launch(program, "add", [context.alloc(4).arg(), ScalarArg(b"\1")])
    with pytest.raises(DeviceFault, match="scalar of 1 bytes"):
        context.finish()


@pytest.mark.parametrize("what", ["SystemExit(3)", "GeneratorExit()", "BaseException()"])
def test_a_kernel_cannot_end_the_process_that_runs_it(context: Context, what: str) -> None:
    program = context.load(image(f"def stop(grid):\n    raise {what}\n"))
    context.launch(program, "stop", [])
    with pytest.raises(DeviceFault, match=what.partition("(")[0]):
        context.finish()
    with pytest.raises(ProgramRejected, match="top level"):
        context.load(image("X = exit(3)\ndef f(grid):\n    pass\n"))


def test_an_interrupt_is_not_the_kernels(context: Context) -> None:
    context.launch(context.load(image("def f(grid):\n    raise KeyboardInterrupt\n")), "f", [])
    with pytest.raises(KeyboardInterrupt):
        context.finish()
