"""The command line, as a process: exit status and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app

COMMANDS = (
    *("demo", "devices", "compile", "serve", "submit", "jobs", "why", "bundle"),
    *("proxy", "run", "halt", "resume", "move", "snapshot", "weigh", "capture", "store"),
)
PROGRAM = """
import numpy as np
from hal import ProgramImage, open_device
with open_device("proxy:cpu:0") as device, device.open_context() as context:
    program = context.load(ProgramImage("numpy", b"def inc(grid, a: buffer):\\n    a += 1\\n"))
    a = context.alloc(1)
    for turn in range(100):
        context.launch(program, "inc", [a.arg()])
    print(context.read(a)[0], flush=True)
    input()
    for turn in range(100):
        context.launch(program, "inc", [a.arg()])
    print(context.read(a)[0], flush=True)
"""


def haltere(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *args],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **(env or {})},
    )  # fmt: skip


def wait_until(happened: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("serve", "nothing.onnx"), "no such file"),
        (("serve", "a.onnx", "b/a.onnx"), "more than one model is called a"),
        (("bundle", "verify", "nothing"), "no bundle at nothing"),
        (("bundle", "build", "nothing", "x"), "no overlay 'nothing'"),
        (("jobs", "--url", "http://127.0.0.1:9"), "no service at"),
        (("jobs", "1", "--url", "nonsense"), "nonsense is no service of haltere"),
        (("why", "1", "--url", "http://127.0.0.1:9"), "no service at"),
        (("snapshot", "job"), "no program 'job'"),
        (("resume", "job"), "no program 'job'"),
    ],
)
def test_a_mistake_is_told_in_a_line(args: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = haltere(*args, env={"HALTERE_PROXY_ROOT": str(tmp_path)})
    assert done.returncode == 1
    assert told in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_more_models_than_devices_are_refused_at_once(tmp_path: Path) -> None:
    files = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for file in files:
        file.write_bytes(b"")
    done = haltere(
        "serve", *map(str, files), "--device", "fpga-sim:0", "--device", "opencl:0",
        env={"HALTERE_STATE_DIR": str(tmp_path / "state"), "HALTERE_PORT": "0", "COLUMNS": "400"},
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        "2 models (one, two)" in done.stdout
        and "1 of the pool's (fpga-sim:0, opencl:0)" in done.stdout
    )
    assert not (tmp_path / "state").exists()


def test_dimensions_of_served_models_are_checked_before_anything_starts(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["steps", 4]) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g", *([t] for t in tensors)
    )
    file = tmp_path / "one.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.write_bytes(model.SerializeToString())
    env = {"HALTERE_STATE_DIR": str(tmp_path / "state"), "HALTERE_PORT": "0", "COLUMNS": "400"}
    for dim, told in (("step=8", "dimension 'step': one has steps"), ("steps", "symbol=number")):
        done = haltere("serve", str(file), "--dim", dim, env=env)
        assert done.returncode == 1 and told in done.stdout
    assert not (tmp_path / "state").exists()


def test_every_command_has_help() -> None:
    commands = CliRunner()
    text = commands.invoke(app, ["--help"]).stdout
    for name in COMMANDS:
        assert name in text
        assert commands.invoke(app, [name, "--help"]).exit_code == 0


def test_a_running_program_is_moved_by_hand(tmp_path: Path) -> None:
    env = {**os.environ, "HALTERE_PROXY_ROOT": str(tmp_path / "root"), "HALTERE_SESSION": "job"}
    servers = [
        subprocess.Popen([sys.executable, "-m", "service.cli", "proxy", device], env=env)
        for device in ("cpu:0", "cpu:1")
    ]
    try:
        program = _start(env, tmp_path)
        assert program.stdout is not None and program.stdin is not None
        assert program.stdout.readline() == "100\n"
        moved = haltere(
            "move", "job", "--to", "cpu:1", "--store", str(tmp_path / "store"),
            env=env,
        )  # fmt: skip
        assert moved.returncode == 0, moved.stdout
        servers[0].terminate()
        servers[0].wait(30)
        out, _ = program.communicate("\n", timeout=60)
        assert out == "200\n"
    finally:
        for server in servers:
            server.terminate()
            server.wait(30)


def _start(env: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    """The program, once the servers are up."""
    from proxy.control import Control
    from proxy.errors import ServerGone

    for device in ("cpu:0", "cpu:1"):
        for _ in range(300):
            try:
                Control(Path(env["HALTERE_PROXY_ROOT"]), device).status()
                break
            except ServerGone:
                subprocess.run([sys.executable, "-c", ""], check=True)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
    )  # fmt: skip


def test_a_server_is_given_its_name_and_bounds(tmp_path: Path) -> None:
    env = {**os.environ, "HALTERE_PROXY_ROOT": str(tmp_path)}
    bounds = ("--kernel-s", "2", "--quantum-ms", "0", "--session-bytes", "4096",
              "--device-bytes", "65536", "--swap-bytes", "0")  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "service.cli", "proxy", "opencl:0", "--name", "small", *bounds],
        env=env,
    ) as server:
        try:
            wait_until(lambda: (tmp_path / "servers" / "small" / "info.json").exists())
            source = (
                "from hal import open_device\n"
                "with open_device('proxy:small') as device, device.open_context() as context:\n"
                "    context.alloc(8192)\n"
                "    context.finish()\n"
            )
            done = subprocess.run(
                [sys.executable, "-c", source], env=env, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 1
            assert "OutOfMemory" in done.stderr
        finally:
            server.terminate()


def test_a_model_is_compiled_and_reported_on_by_the_command(tmp_path: Path) -> None:
    source = tmp_path / "junk.onnx"
    source.write_bytes(b"junk")
    done = haltere("compile", str(source), "--device", "none")
    assert done.returncode == 1 and "malformed_model" in done.stderr
    assert "--picture" in haltere("compile", "--help").stdout
