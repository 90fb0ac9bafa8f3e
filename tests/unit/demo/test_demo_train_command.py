"""The training job as a program: what it prints, what it writes, how it fails."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hal import Context
from service.demo.data import Digits
from service.demo.layers import load_program
from service.demo.nets import NETS, digest, load_weights
from service.demo.progress import reporting
from service.demo.train import DEFAULT_STEPS, main
from service.demo.trainer import Recipe, Samples, trainer_for

OpenContext = Callable[[int], Context]
SHORT = ["--steps", "60", "--report-every", "25", "--digest-every", "40"]


@pytest.fixture
def device(open_context: OpenContext, monkeypatch: pytest.MonkeyPatch) -> str:
    uri = open_context(0).info.uri
    monkeypatch.setenv("HALTERE_DEVICE", uri)
    return uri


def test_the_job_trains_both_nets_and_writes_weights_of_the_digest_it_prints(
    device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "weights.npz"
    assert main(["--net", "both", *SHORT, "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"training mlp, lstm on {device}"
    for name in NETS:
        steps = [line.split(":")[0] for line in lines if line.startswith(f"{name} step")]
        assert [step for step in steps if "sha256" not in step] == [
            f"{name} step {count}/60" for count in (25, 50, 60)
        ]
        assert sum("sha256" in line for line in lines if line.startswith(f"{name} step 40 ")) == 1
        assert any(line.startswith(f"{name} accuracy: train 0.") for line in lines)
    assert f"sha256 {digest(load_weights(out))}" in lines


def test_the_same_arguments_give_the_same_digest_and_another_seed_another(
    device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def sha(*more: str) -> str:
        out = str(tmp_path / "weights.npz")
        assert main(["--net", "mlp", "--steps", "50", "--out", out, *more]) == 0
        lines = capsys.readouterr().out.splitlines()
        return next(line for line in lines if line.startswith("sha256"))

    assert sha() == sha("--report-every", "7") != sha("--seed", "1")


def test_an_unknown_device_is_an_error_with_its_code_and_leaves_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "weights.npz"
    assert main(["--device", "opencl:99", "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith("device_lost: ")
    assert not out.exists()


@pytest.mark.parametrize("steps", ["0", "-3", "many"])
def test_a_senseless_number_of_steps_is_refused(
    steps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--steps", steps, "--out", "weights.npz"])
    assert stop.value.code == 2
    assert "--steps" in capsys.readouterr().err


def test_a_terminal_gets_the_lines_too() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with reporting("training mlp", 10, terminal) as report:
        report(5, "mlp step 5/10: loss 0.5000")
    assert "mlp step 5/10: loss 0.5000" in terminal.getvalue()


@pytest.mark.parametrize(
    ("name", "steps", "wanted"),
    [
        ("mlp", 1000, 0.96),
        pytest.param("lstm", DEFAULT_STEPS, 0.95, marks=pytest.mark.slow),
    ],
)
def test_held_out_images_are_recognised(
    name: str, steps: int, wanted: float, digits: Digits, open_context: OpenContext
) -> None:
    context, net = open_context(0), NETS[name]()
    samples = Samples(digits.train_images, digits.train_labels)
    trainer = trainer_for(context, load_program(context), net, Recipe(steps), samples)
    while not trainer.done:
        trainer.step()
    weights = trainer.read_weights()
    assert np.isfinite(weights).all()
    assert net.accuracy(weights, digits.held_out_images, digits.held_out_labels) >= wanted
