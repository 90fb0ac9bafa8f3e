"""What the `haltere` command says when it cannot do what was asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from service import cli


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.csv"
    path.write_text("job_id,submission_time,duration,num_gpu\na,0,60,1\n")
    return str(path)


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["haltere", *words])
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code
    return capsys.readouterr().out


def test_an_error_is_one_line_with_the_words_as_they_were_given(
    trace: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = said(capsys, monkeypatch, "simulate", "--trace", trace, "--faults", "nod:x")
    assert found.count("\n") == 1 and "faults nod:x: 'nod' is none of node, device" in found


def test_settings_that_cannot_be_are_told_by_their_variables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "m.onnx"
    relu = helper.make_node("Relu", ["x"], ["y"])
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy"]
    graph = helper.make_graph([relu], "g", *([each] for each in tensors))
    model.write_bytes(helper.make_model(graph).SerializeToString())
    monkeypatch.setenv("HALTERE_PORT", "many")
    assert "HALTERE_PORT='many'" in said(capsys, monkeypatch, "serve", str(model))
    monkeypatch.setenv("HALTERE_PORT", "0")
    monkeypatch.setenv("HALTERE_STATE_DIR", str(model))
    found = said(capsys, monkeypatch, "serve", str(model), "--device", "cpu:0")
    assert f"cannot make the folder {model}" in found and "HALTERE_STATE_DIR" in found


def test_a_file_that_cannot_be_written_is_one_line(
    trace: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = said(capsys, monkeypatch, "simulate", "--trace", trace, "--report", f"{trace}/out")
    assert found.count("\n") == 1 and f"{trace}/out" in found
