"""The cycle model against the RTL's counters: equal for nets, within 2 % for random programs."""

from __future__ import annotations

import numpy as np
import pytest

from rtl_sim.model.npu_cycles import Memory, predict
from rtl_sim.model.npu_formats import pack_vector
from rtl_sim.model.npu_nets import Net, gru, lstm, mlp, rnn
from rtl_sim.spec.npu import CONFIGS, TIMING_STATS, Config, Instr, Stat, encode
from rtl_sim.tb.npu_bench import Bench
from rtl_sim.tb.npu_random import Generator

LATENCIES = [(0, 0), (20, 10)]  # cycles to a read's first beat, and to a write's end
CLOSE = 0.02


class Pair:
    """The RTL's statistics of a launch, and what the model says of it."""

    def __init__(self, name: str) -> None:
        self.config = CONFIGS[name]
        self.bench = Bench(self.config, seed=5)

    def run(
        self, program: bytes, weights: bytes, inputs: bytes, outputs: int, latency: tuple[int, int]
    ) -> tuple[dict[Stat, int], dict[Stat, int]]:
        size = self.config.vector_bytes
        self.bench.model.set_timing(*latency)
        found = self.bench.launch(program, weights, inputs, outputs * size)
        places = {name: place // 8 for name, place in found.places.items()}
        predicted = predict(
            self.config,
            program,
            weight_vectors=len(weights) // size,
            input_vectors=len(inputs) // size,
            output_vectors=outputs,
            memory=Memory(*latency, places),
        )
        return {stat: found.stats[stat] for stat in TIMING_STATS}, predicted


@pytest.fixture(scope="module")
def nano() -> Pair:
    return Pair("nano")


def nets(config: Config, hidden: int, steps: int) -> list[tuple[Net, bytes]]:
    """Every kind of net, and its inputs."""
    rng = np.random.default_rng(3)

    def gates(count: int, biases: int) -> list[np.ndarray]:
        shapes = (count * hidden, hidden), (count * hidden, hidden), (biases * hidden,)
        return [rng.uniform(-0.3, 0.3, shape) for shape in shapes]

    layers = [(rng.standard_normal((hidden, hidden)) / 8, np.zeros(hidden)) for _ in range(2)]
    made = [
        mlp(config, layers, 5),
        rnn(config, *gates(1, 1), steps=steps),
        lstm(config, *gates(4, 4), steps=steps, samples=2),
    ]
    if config.tiles >= 32:
        made.append(gru(config, *gates(3, 4), steps=steps))
    return [
        (net, pack_vector(config, rng.standard_normal((net.input_vectors, config.n))))
        for net in made
    ]


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("nano", 16),
        pytest.param("sim", 60, marks=pytest.mark.slow),
        pytest.param("sim4", 150, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("latency", LATENCIES, ids=["near", "far"])
def test_nets_take_the_cycles_that_the_model_says(name, hidden, latency):
    pair = Pair(name)
    for net, inputs in nets(pair.config, hidden, 6):
        found, predicted = pair.run(net.program, net.weights, inputs, net.output_vectors, latency)
        assert {stat: predicted[stat] for stat in TIMING_STATS} == found


@pytest.mark.parametrize("latency", LATENCIES, ids=["near", "far"])
def test_random_programs_take_the_cycles_that_the_model_says(nano, latency):
    for seed in range(40):
        case = Generator(nano.config, seed).case()
        found, predicted = nano.run(
            case.program, case.weights, case.inputs, case.output_vectors, latency
        )
        assert predicted[Stat.CYCLES] == pytest.approx(found[Stat.CYCLES], rel=CLOSE), seed
        for stat in TIMING_STATS:
            assert abs(predicted[stat] - found[stat]) <= 5, (seed, stat.name)


def test_a_program_with_an_error_takes_the_cycles_that_the_model_says(nano):
    case = Generator(nano.config, 0).case()
    program = case.program[: 8 * 40] + encode([Instr(0x7F)])
    found, predicted = nano.run(
        program, case.weights, case.inputs, case.output_vectors, LATENCIES[0]
    )
    assert predicted[Stat.CYCLES] == pytest.approx(found[Stat.CYCLES], rel=CLOSE)
