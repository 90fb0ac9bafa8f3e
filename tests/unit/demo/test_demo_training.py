"""Gradients against finite differences, Adam against NumPy, and the same bits everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hal import Context
from service.demo.layers import load_program
from service.demo.nets import Lstm, Mlp, Net, softmax
from service.demo.trainer import (
    KEEP_MEAN,
    KEEP_SPREAD,
    TINY,
    Recipe,
    Samples,
    Trainer,
    trainer_for,
)

OpenContext = Callable[[int], Context]

SMALL = [
    pytest.param(Mlp(6, 5, 3), id="mlp"),
    pytest.param(Lstm(row=3, steps=4, hidden=5, classes=3), id="lstm"),
    pytest.param(Lstm(row=7, steps=2, hidden=3, classes=4), id="lstm, rows wider than hidden"),
]
RECIPE = Recipe(steps=40, seed=3, batch=4)


def samples_for(net: Net, count: int = 9) -> Samples:
    rng = np.random.default_rng(11)
    images = rng.uniform(-1, 1, (count, net.inputs)).astype(np.float32)
    return Samples(images, rng.integers(0, net.classes, count).astype(np.int32))


def start(context: Context, net: Net, recipe: Recipe = RECIPE) -> Trainer[Any]:
    return trainer_for(context, load_program(context), net, recipe, samples_for(net))


def batch_of(trainer: Trainer[Any], step: int) -> NDArray[np.int32]:
    per_epoch = len(trainer.epoch_order(0)) // RECIPE.batch
    order = trainer.epoch_order(step // per_epoch)
    return order[step % per_epoch * RECIPE.batch :][: RECIPE.batch]


def loss(net: Net, vector: NDArray[Any], samples: Samples, batch: NDArray[np.int32]) -> float:
    chances = softmax(net.logits(vector, samples.images[batch].astype(np.float64)))
    return float(-np.log(chances[np.arange(len(batch)), samples.labels[batch]]).mean())


def slopes(net: Net, vector: NDArray[Any], samples: Samples, batch: NDArray[np.int32]) -> Any:
    """Central differences of the NumPy loss, in double precision, parameter by parameter."""
    width = 1e-6
    result = np.zeros(net.size)
    for index in range(net.size):
        shifted = vector.astype(np.float64)
        shifted[index] += width
        above = loss(net, shifted, samples, batch)
        shifted[index] -= 2 * width
        result[index] = (above - loss(net, shifted, samples, batch)) / (2 * width)
    return result


@pytest.mark.parametrize("net", SMALL)
@pytest.mark.parametrize("step", [0, 1, 5])
def test_gradients_are_the_slopes_of_the_loss(
    net: Net, step: int, open_context: OpenContext
) -> None:
    trainer = start(open_context(0), net)
    for _ in range(step):
        trainer.step()
    weights = trainer.read_weights()
    trainer.enqueue_gradients()
    expected = slopes(net, weights, samples_for(net), batch_of(trainer, step))
    np.testing.assert_allclose(trainer.read_gradients(), expected, rtol=2e-4, atol=2e-6)
    assert np.abs(expected).max() > 0.01  # a test on zeros would prove nothing


@pytest.mark.parametrize("net", SMALL)
def test_the_score_is_the_mean_loss_and_accuracy_since_the_last_reading(
    net: Net, open_context: OpenContext
) -> None:
    trainer = start(open_context(0), net)
    samples = samples_for(net)
    trainer.step()
    trainer.read_score()
    losses, hits = [], []
    for step in (1, 2):
        weights, batch = trainer.read_weights(), batch_of(trainer, step)
        losses.append(loss(net, weights.astype(np.float64), samples, batch))
        hits.append(net.accuracy(weights, samples.images[batch], samples.labels[batch]))
        trainer.step()
    score = trainer.read_score()
    assert score.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert score.accuracy == pytest.approx(np.mean(hits))


def test_the_update_is_adam_with_decoupled_decay(open_context: OpenContext) -> None:
    net = Mlp(6, 5, 3)
    trainer = start(open_context(0), net)
    expected = trainer.read_weights().astype(np.float64)
    mean, spread = np.zeros(net.size), np.zeros(net.size)
    for step in range(4):
        trainer.enqueue_gradients()
        gradient = trainer.read_gradients().astype(np.float64)
        trainer.enqueue_update()
        rate = RECIPE.rate_at(step)
        mean = KEEP_MEAN * mean + (1 - KEEP_MEAN) * gradient
        spread = KEEP_SPREAD * spread + (1 - KEEP_SPREAD) * gradient**2
        corrected = np.sqrt(spread) / np.sqrt(1 - KEEP_SPREAD ** (step + 1)) + TINY
        expected -= rate * mean / (1 - KEEP_MEAN ** (step + 1)) / corrected
        expected *= 1 - rate * RECIPE.decay
        np.testing.assert_allclose(trainer.read_weights(), expected, rtol=3e-4, atol=3e-6)


@pytest.mark.parametrize("net", SMALL)
def test_two_devices_give_the_same_bits_however_often_the_host_reads(
    net: Net, open_context: OpenContext
) -> None:
    quiet, curious = start(open_context(0), net), start(open_context(1), net)
    while not quiet.done:
        quiet.step()
        curious.step()
        curious.read_score()
        curious.read_weights()
    assert quiet.read_weights().tobytes() == curious.read_weights().tobytes()


@pytest.mark.parametrize("net", SMALL)
def test_a_run_whose_buffers_move_to_another_device_ends_in_the_same_bits(
    net: Net, open_context: OpenContext
) -> None:
    here, there = open_context(0), open_context(1)
    whole, first = start(open_context(0), net), start(here, net)
    while not whole.done:
        whole.step()
    while first.step_count < 17:
        first.step()
    second = start(there, net)
    second.step_count = first.step_count
    for old, new in zip(here.buffers, there.buffers, strict=True):
        there.write(new, here.read(old))
    while not second.done:
        second.step()
    assert second.read_weights().tobytes() == whole.read_weights().tobytes()


def test_another_seed_gives_other_weights(open_context: OpenContext) -> None:
    net, context = Mlp(6, 5, 3), open_context(0)
    one, other = start(context, net), start(context, net, Recipe(steps=40, seed=4, batch=4))
    assert not np.array_equal(one.read_weights(), other.read_weights())
    assert not np.array_equal(one.epoch_order(0), other.epoch_order(0))


def test_an_epoch_takes_no_sample_twice_and_no_two_epochs_are_alike(
    open_context: OpenContext,
) -> None:
    trainer = start(open_context(0), Mlp(6, 5, 3))
    orders = [trainer.epoch_order(epoch) for epoch in range(3)]
    for order in orders:
        assert len(set(order.tolist())) == len(order) == 8  # two batches of the nine samples
    assert len({order.tobytes() for order in orders}) == 3


def test_a_freed_trainer_leaves_no_buffer_behind(open_context: OpenContext) -> None:
    context = open_context(0)
    trainer = start(context, Lstm(row=3, steps=4, hidden=5, classes=3))
    trainer.step()
    trainer.free()
    assert context.buffers == ()


def test_too_few_samples_for_a_batch_are_refused(open_context: OpenContext) -> None:
    with pytest.raises(ValueError, match="9 samples do not fill a batch of 10"):
        start(open_context(0), Mlp(6, 5, 3), Recipe(steps=1, batch=10))


def test_the_rate_falls_from_the_first_to_the_last_and_never_rises() -> None:
    recipe = Recipe(steps=100)
    rates = [recipe.rate_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(recipe.rate)
    assert rates[-1] == pytest.approx(recipe.last_rate)
    assert rates == sorted(rates, reverse=True)
