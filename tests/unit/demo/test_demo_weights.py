"""The data split, the nets as values, and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.demo.data import Digits, load_digits
from service.demo.nets import (
    NETS,
    Lstm,
    Mlp,
    digest,
    load_weights,
    named,
    save_weights,
    vector_of,
)


def test_the_split_is_the_same_every_time_and_loses_no_image(digits: Digits) -> None:
    again = load_digits()
    assert again.train_images.tobytes() == digits.train_images.tobytes()
    assert again.held_out_labels.tobytes() == digits.held_out_labels.tobytes()
    assert len(digits.train_labels) + len(digits.held_out_labels) == 1797


def test_no_held_out_image_is_trained_on(digits: Digits) -> None:
    train = {image.tobytes() for image in digits.train_images}
    assert not any(image.tobytes() in train for image in digits.held_out_images)


def test_images_are_scaled_and_every_class_is_held_out_alike(digits: Digits) -> None:
    assert digits.train_images.dtype == np.float32
    assert digits.train_images.min() == 0.0
    assert digits.train_images.max() == 1.0
    shares = np.bincount(digits.held_out_labels) / len(digits.held_out_labels)
    assert len(shares) == 10
    assert np.ptp(shares) < 0.01


@pytest.mark.parametrize("name", NETS)
def test_packing_undoes_unpacking(name: str) -> None:
    net = NETS[name]()
    vector = np.arange(net.size, dtype=np.float32)
    parts = net.unpack(vector)
    assert sum(part.size for part in parts.values()) == net.size
    assert np.array_equal(net.pack(parts), vector)


@pytest.mark.parametrize("name", NETS)
def test_first_weights_follow_from_the_seed(name: str) -> None:
    net = NETS[name]()
    assert np.array_equal(net.first_weights(5), net.first_weights(5))
    assert not np.array_equal(net.first_weights(5), net.first_weights(6))


def test_an_lstm_starts_by_remembering() -> None:
    net = Lstm()
    bias = net.unpack(net.first_weights(0))["lstm.bias"].reshape(4, net.hidden)
    assert np.array_equal(bias[2], np.ones(net.hidden))
    assert not bias[[0, 1, 3]].any()


def test_weights_survive_the_file(tmp_path: Path) -> None:
    nets = [(net, net.first_weights(1)) for net in (Mlp(), Lstm())]
    path = tmp_path / "deep" / "weights.npz"
    save_weights(path, named(nets))
    loaded = load_weights(path)
    assert digest(loaded) == digest(named(nets))
    for net, vector in nets:
        assert vector_of(net, loaded).tobytes() == vector.tobytes()
    assert list(path.parent.iterdir()) == [path]


def test_the_digest_sees_a_single_bit() -> None:
    net = Mlp()
    vector = net.first_weights(0)
    before = digest(named([(net, vector)]))
    changed = vector.copy()
    changed.view(np.uint32)[-1] ^= 1
    assert digest(named([(net, changed)])) != before
    assert digest(named([(net, vector)])) == before


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.npz"
    net = Mlp()
    save_weights(path, named([(net, net.first_weights(0))]))
    before = path.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.demo.nets.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_weights(path, named([(net, net.first_weights(1))]))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
