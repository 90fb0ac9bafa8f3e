"""Programs: known answers, and a clear refusal of what cannot be loaded or launched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hal import BufferArg, Context, Device, Grid, ProgramImage, ScalarArg
from hal.errors import OverlayRejected, ProgramRejected, Unsupported, UsageError
from hal.types import Arg
from hal.workload import Workload, prepare

if TYPE_CHECKING:
    from conftest import Opener, Target

TIMEOUT_S = 300.0


def check(context: Context, target: Target) -> None:
    """The context is as good as new: a self test gives its answer in it."""
    for test in target.tests[:1]:
        work = prepare(context, test)
        work.launch()
        context.finish(TIMEOUT_S)
        assert work.read() == test.expected
    buffer = context.alloc(16)
    context.write(buffer, b"sixteen bytes ok")
    assert context.read(buffer) == b"sixteen bytes ok"


def computing(target: Target, context: Context) -> Workload:
    if not target.caps.computes:
        pytest.skip("caps.computes is False")
    return prepare(context, target.tests[0])


def test_a_device_that_computes_has_self_tests_in_formats_it_accepts(target: Target) -> None:
    assert bool(target.tests) == target.caps.computes
    assert {test.image.format for test in target.tests} <= set(target.caps.formats)
    assert (target.overlay is not None) == target.caps.configurable


def test_self_tests_give_the_known_answers(target: Target, device: Device) -> None:
    for test in target.tests:
        with device.open_context() as context:
            work = prepare(context, test)
            work.launch()
            context.finish(TIMEOUT_S)
            assert work.read() == test.expected, test.name


def test_the_answers_are_not_there_before_the_launch(target: Target, context: Context) -> None:
    """A control: most tests would fail on a device that does nothing. Not all: a test may expect
    that a refused input leaves its outputs zero."""
    computing(target, context)
    wrong = [prepare(context, test).read() != test.expected for test in target.tests]
    assert sum(wrong) * 2 > len(wrong)


def test_a_launch_gives_the_same_answer_again(target: Target, context: Context) -> None:
    work = computing(target, context)
    for _ in range(3):
        for buffer in work.outputs:
            context.write(buffer, bytes(buffer.size_bytes))
        work.launch()
        assert work.read() == work.test.expected


def test_launches_of_two_contexts_alternate(target: Target, device: Device) -> None:
    with device.open_context() as one, device.open_context() as other:
        works = [computing(target, context) for context in (one, other)]
        for _ in range(2):
            for work in works:
                work.launch()
            for work in works:
                assert work.read() == work.test.expected


def test_arguments_at_an_offset_reach_the_kernel(target: Target, context: Context) -> None:
    work = computing(target, context)
    shift = target.caps.offset_align * 2
    args: list[Arg] = []
    moved = []
    for arg in work.args:
        if not isinstance(arg, BufferArg):
            args.append(arg)
            continue
        old = next(buffer for buffer in work.buffers if buffer.handle == arg.buffer)
        new = context.alloc(old.size_bytes + shift)
        context.copy(old, new, old.size_bytes, target_offset=shift)
        args.append(new.arg(shift))
        if old in work.outputs:
            moved.append(new)
    context.launch(work.program, work.test.entry, args, work.test.grid)
    for buffer, expected in zip(moved, work.test.expected, strict=True):
        assert context.read(buffer) == bytes(shift) + expected


def test_a_format_the_device_does_not_know_is_refused(target: Target, context: Context) -> None:
    with pytest.raises(ProgramRejected, match="runes"):
        context.load(ProgramImage("runes", b"\x00\x01"))
    check(context, target)


def test_a_payload_that_is_no_program_is_refused(target: Target, context: Context) -> None:
    if not target.caps.computes:
        pytest.skip("caps.computes is False")
    for format in target.caps.formats:
        for payload in (b"", b"this is { no program ((", b"\xff\xfe\x00\x80"):
            with pytest.raises((ProgramRejected, OverlayRejected)):
                context.load(ProgramImage(format, payload))
                context.finish()
    check(context, target)


def test_an_unknown_entry_is_refused(target: Target, context: Context) -> None:
    work = computing(target, context)
    with pytest.raises(ProgramRejected, match="no_such_entry"):
        context.launch(work.program, "no_such_entry", work.args, work.test.grid)
        context.finish()
    check(context, target)


def test_arguments_that_do_not_fit_are_refused(target: Target, context: Context) -> None:
    work = computing(target, context)
    swapped = [
        ScalarArg(bytes(8)) if isinstance(arg, BufferArg) else work.buffers[0].arg()
        for arg in work.args
    ]
    for args in (work.args[:-1], (*work.args, ScalarArg(bytes(4))), (), swapped):
        with pytest.raises(ProgramRejected):
            context.launch(work.program, work.test.entry, args, work.test.grid)
            context.finish()
    check(context, target)


def test_a_dead_buffer_is_no_argument(target: Target, context: Context) -> None:
    work = computing(target, context)
    work.buffers[0].free()
    with pytest.raises(UsageError):
        work.launch()


def test_an_unloaded_program_cannot_be_launched(target: Target, context: Context) -> None:
    work = computing(target, context)
    context.unload(work.program)
    with pytest.raises(UsageError):
        work.launch()
    with pytest.raises(UsageError):
        context.unload(work.program)
    check(context, target)


def test_a_program_of_another_context_is_refused(target: Target, device: Device) -> None:
    with device.open_context() as one, device.open_context() as other:
        mine, yours = computing(target, one), computing(target, other)
        with pytest.raises(UsageError):
            one.launch(yours.program, mine.test.entry, mine.args, mine.test.grid)


@pytest.mark.parametrize(
    "grid", [Grid(()), Grid((0,)), Grid((1, 1, 1, 1)), Grid((10,), (3,)), Grid((4,), (2, 2))]
)
def test_a_grid_that_makes_no_sense_is_refused(
    target: Target, context: Context, grid: Grid
) -> None:
    work = computing(target, context)
    with pytest.raises(UsageError):
        context.launch(work.program, work.test.entry, work.args, grid)


# ---- overlays


def test_a_device_without_a_fabric_takes_no_overlay(
    target: Target, device: Device, opener: Opener
) -> None:
    if target.caps.configurable:
        pytest.skip("caps.configurable is True")
    from hal import Overlay

    with pytest.raises(Unsupported):
        device.configure(Overlay("00" * 32, b"{}", {}))


def test_an_overlay_that_is_not_what_it_says_is_refused(target: Target, device: Device) -> None:
    if target.overlay is None:
        pytest.skip("caps.configurable is False")
    whole = target.overlay
    name = max(whole.files, key=lambda path: len(whole.files[path]))
    short = {**whole.files, name: whole.files[name][:-1]}
    missing = {path: data for path, data in whole.files.items() if path != name}
    for wrong in (
        replace(whole, digest="00" * (len(whole.digest) // 2)),
        replace(whole, manifest=whole.manifest[:-1]),
        replace(whole, manifest=whole.manifest.replace(b'"', b"'", 1)),
        replace(whole, files=short),
        replace(whole, files=missing),
    ):
        with pytest.raises(OverlayRejected):
            device.configure(wrong)
    with device.open_context() as context:
        check(context, target)


def test_configuring_again_with_the_same_overlay_keeps_it_usable(
    target: Target, device: Device
) -> None:
    if target.overlay is None:
        pytest.skip("caps.configurable is False")
    device.configure(target.overlay)
    with device.open_context() as context:
        check(context, target)
