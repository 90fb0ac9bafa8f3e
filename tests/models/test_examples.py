"""The examples about models: nets that learn, equal files from equal seeds, sessions that move."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from hal.testing.fpga_sim import absence

pytestmark = pytest.mark.xdist_group("models")  # so that they are trained once
needs_fpga = pytest.mark.skipif(absence() is not None, reason=str(absence()))
NETS = ("mlp", "tumours", "cnn", "lstm", "gru")


def test_every_net_learns_and_onnxruntime_says_what_it_says(trained) -> None:
    found = dict(
        re.findall(r"^(\w+): held-out accuracy (0\.\d+) by onnxruntime", trained.said, re.M)
    )
    assert tuple(found) == NETS
    assert all(float(accuracy) > 0.94 for accuracy in found.values()), found


def test_a_seed_gives_the_same_files(trained, example, tmp_path: Path) -> None:
    example("train.py", "mlp", "tumours", "--out", str(tmp_path))
    for name in ("mlp.onnx", "tumours.onnx"):
        assert (tmp_path / name).read_bytes() == (trained.folder / name).read_bytes()


def test_an_unknown_net_is_refused_with_those_that_there_are(example) -> None:
    with pytest.raises(AssertionError, match="no net rnn; there are mlp, tumours"):
        example("train.py", "rnn")


# On a fabric it takes the large overlay, which is long in building; of the small one see e2e.
ON_FABRIC = (needs_fpga, pytest.mark.slow)


@pytest.mark.parametrize(
    "devices",
    [
        "cpu:0 cpu:1",
        pytest.param("fpga-sim:0 cpu:0", marks=ON_FABRIC),
        pytest.param("cpu:1 fpga-sim:1", marks=ON_FABRIC),
    ],
)
@pytest.mark.parametrize("net", ["lstm", "gru"])
def test_a_session_goes_on_elsewhere_with_the_same_bits(
    trained, example, monkeypatch: pytest.MonkeyPatch, devices: str, net: str
) -> None:
    monkeypatch.setenv("DEVICES", devices)
    said = example("serve.py", str(trained.path(net)))
    assert "same bits: True" in said
    first, second = devices.split()
    assert said.count(f"{first}: row") == said.count(f"{second}: row") == 4
    assert re.search(rf"^\d+ bytes: {net}\d\.h", said, re.M)


@pytest.mark.parametrize("device", ["cpu:0", pytest.param("fpga-sim:0", marks=ON_FABRIC)])
def test_a_crowd_talks_to_one_device(
    trained, example, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setenv("DEVICE", device)
    said = example("serve_async.py", str(trained.path("lstm")))
    found = re.fullmatch(r"32 images, (\d+)% right; calls refused by the queue: True\n", said)
    assert found and int(found[1]) >= 85
    assert "HALTERE_DEVICE" not in os.environ  # it is the device asked for that answered
