"""The overlays that ship: known answers, and the halting law at random cycles, cycle for cycle."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import bitstreams
from hal.backends.fpga import overlays
from hal.backends.fpga.driver import FpgaDriver
from hal.backends.fpga.guard import refuse_host_access
from hal.backends.fpga.recipe import RTL_ROOT, recipes
from hal.backends.fpga.verilator_shell import MemoryTiming, VerilatorShell
from hal.context import Context, Device
from hal.errors import OverlayRejected, StateError
from hal.types import DeviceInfo, ScalarArg, SelfTest, Seq
from hal.workload import Workload, prepare
from rtl_sim.model import checksum

CUTS = {"checksum": 24, "npu-nano": 6}
WAIT_S = 120.0


@dataclass
class Place:
    """A device of its own whose clock a test can count."""

    shell: VerilatorShell
    device: Device


def place(info: DeviceInfo, test: SelfTest, seed: int, stall_per_256: int = 0) -> Place:
    shell = VerilatorShell(timing=MemoryTiming(stall_per_256=stall_per_256), seed=seed)
    device = Device(FpgaDriver(info, shell))
    assert test.overlay is not None
    device.configure(test.overlay)
    return Place(shell, device)


def contents(context: Context) -> list[bytes]:
    return [context.read(buffer) for buffer in context.buffers]


def start(where: Place, test: SelfTest) -> tuple[Workload, Seq]:
    context = where.device.open_context()
    work = prepare(context, test)
    work.launch()
    return work, context.signal()


def shipped(name: str) -> tuple[SelfTest, ...]:
    if name not in overlays.names():
        pytest.skip(f"overlay {name} has no recipe")
    return overlays.self_tests(overlays.overlay(name))


@pytest.fixture(params=sorted(CUTS))
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


@pytest.mark.parametrize("stall_per_256", [0, 60])
def test_cut_at_random_cycles_a_run_ends_with_equal_memory_and_cycles_on_another_device(
    info: DeviceInfo, name: str, stall_per_256: int
) -> None:
    dice = random.Random(name)
    test = max(shipped(name), key=lambda each: sum(len(e) for e in each.expected))
    whole = place(info, test, seed=0, stall_per_256=stall_per_256)
    work, seq = start(whole, test)
    begin = whole.shell.cycle
    assert work.context.wait(seq, WAIT_S)
    end, expected = whole.shell.cycle, contents(work.context)
    whole.device.close()
    for cut in dice.sample(range(1, end - begin - 30), CUTS[name] // (2 if stall_per_256 else 1)):
        first = place(info, test, seed=0, stall_per_256=stall_per_256)
        second = place(info, test, seed=dice.getrandbits(31), stall_per_256=1)
        work, seq = start(first, test)
        first.shell.first_batch_cycles = cut
        assert not work.context.wait(seq, 0.0)
        work.context.halt()
        assert first.shell.cycle == begin + cut
        state = work.context.save_state()
        memory = [work.context.peek(buffer) for buffer in work.context.buffers]
        first.device.close()
        moved = prepare(second.device.open_context(), test, fill=False)
        for buffer, data in zip(moved.context.buffers, memory, strict=True):
            moved.context.write(buffer, data)
        moved.context.load_state(state, seq)
        assert second.shell.cycle == begin + cut
        assert moved.context.wait(seq, WAIT_S)
        assert contents(moved.context) == expected, f"{name} cut at {cut}"
        assert second.shell.cycle == end, f"{name} cut at {cut}"
        second.device.close()


def test_every_known_answer_comes_out(info: DeviceInfo, name: str) -> None:
    for test in shipped(name):
        where = place(info, test, seed=3)
        work, seq = start(where, test)
        assert work.context.wait(seq, WAIT_S)
        assert work.read() == test.expected, test.name
        where.device.close()


def test_the_state_of_another_shipped_overlay_is_refused(info: DeviceInfo) -> None:
    one, other = shipped("checksum")[0], shipped("npu-nano")[0]
    first, second = place(info, one, seed=0), place(info, other, seed=0)
    work, seq = start(first, one)
    work.context.halt()
    target = second.device.open_context()
    for buffer in work.context.buffers:
        target.alloc(buffer.size_bytes)
    with pytest.raises(StateError, match="overlay"):
        target.load_state(work.context.save_state(), seq)
    first.device.close()
    second.device.close()


@pytest.mark.parametrize("nbytes", [0, 1, 4, 8, 63, 4097])
def test_the_checksum_kernel_agrees_with_its_model_in_answer_and_cycles(
    info: DeviceInfo, nbytes: int
) -> None:
    test = shipped("checksum")[0]
    where = place(info, test, seed=0)
    with where.device.open_context() as context:
        data = random.Random(nbytes).randbytes(nbytes)
        source, result = context.alloc(max(nbytes, 1)), context.alloc(checksum.RESULT_BYTES)
        context.write(source, data)
        program = context.load(test.image)
        args = [source.arg(), result.arg(), ScalarArg.u32(nbytes)]
        context.launch(program, "checksum", args)
        assert context.read(result) == checksum.result(data, checksum.cycles(nbytes))
    where.device.close()


def test_a_shipped_overlay_is_the_same_value_each_time_and_survives_the_disk(
    tmp_path: Path,
) -> None:
    made = overlays.overlay("checksum")
    bundle = bitstreams.verified(made.manifest, made.files, made.digest)
    bitstreams.save(bundle, tmp_path / "bundle")
    assert overlays.as_overlay(bitstreams.load(tmp_path / "bundle")) == made


def test_an_unknown_overlay_is_refused_by_name() -> None:
    with pytest.raises(OverlayRejected, match="checksum"):
        overlays.overlay("nothing")


def test_an_overlay_is_added_by_a_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "another"
    folder.mkdir()
    (folder / "overlay.json").write_bytes((RTL_ROOT / "checksum" / "overlay.json").read_bytes())
    found = recipes(tmp_path)
    assert list(found) == ["checksum"]
    assert all(path.parent == folder for path in found["checksum"].sources)
    (folder / "overlay.json").write_text("{}")
    with pytest.raises(OverlayRejected, match="cannot be read"):
        recipes(tmp_path)


@pytest.mark.parametrize(
    "line", ['initial $system("x");', 'import "DPI-C" function void f();', "`include \"/etc/x\"",
             "initial $readmemh(\"/etc/x\", m);", "`systemc_header",
             "`define P(x) $``x"],
)  # fmt: skip
def test_rtl_that_reaches_the_host_is_refused(info: DeviceInfo, blend: Any, line: str) -> None:
    bundle = bitstreams.verified(blend.manifest, blend.files, blend.digest)
    files = {**blend.files, "blend.sv": line.encode() + b"\n" + blend.files["blend.sv"]}
    bad = overlays.as_overlay(bitstreams.make(bundle.manifest, files))
    device = Device(FpgaDriver(info, VerilatorShell()))
    with pytest.raises(OverlayRejected, match="reach the host"):
        device.configure(bad)


def test_names_and_comments_with_dollar_signs_are_no_system_tasks() -> None:
    source = b"// $system\nmodule spare; wire \\$system , a$system; /* $fopen */ endmodule\n"
    refuse_host_access("spare.v", source + b'initial $display("$system");')


def test_a_word_of_the_result_is_where_the_rtl_says() -> None:
    assert struct.unpack("<IIIIQQ", checksum.result(b"123456789", 7))[0] == 0xCBF43926
