"""Models and how fast they train on devices of different types: what no trace tells.

Relative throughput of one device, V100 = 1, after what Gavel's authors measured (Narayanan et al.,
OSDI 2020; `scheduler/simulation_throughputs.json` of stanford-futuredata/gavel at c4fa400, jobs of
one device that run alone), of one batch size in the middle for each model. Theirs has the
recommender faster on P100 and K80 than on V100: it is bound by its host.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scheduler.core.values import JobSpec

Throughputs = Mapping[str, Mapping[str, float]]

GAVEL: Throughputs = {
    "ResNet-18, batch 64": {"V100": 1.0, "P100": 0.926, "K80": 0.293},
    "ResNet-50, batch 64": {"V100": 1.0, "P100": 0.596, "K80": 0.141},
    "Transformer, batch 64": {"V100": 1.0, "P100": 0.591, "K80": 0.203},
    "A3C": {"V100": 1.0, "P100": 0.792, "K80": 0.479},
    "LM, batch 20": {"V100": 1.0, "P100": 0.899, "K80": 0.265},
    "Recommendation, batch 2048": {"V100": 1.0, "P100": 2.222, "K80": 1.398},
    "CycleGAN": {"V100": 1.0, "P100": 0.543, "K80": 0.114},
}


def train(specs: Sequence[JobSpec], throughputs: Throughputs, seed: int) -> list[JobSpec]:
    """Each job trains one of the models, drawn evenly by the seed. Its duration is on a device of
    the first type; its checkpoint goes on on all of them."""
    drawn = random.Random(seed)
    models = [tuple(speeds.items()) for speeds in throughputs.values()]
    return [replace(spec, speeds=drawn.choice(models), portable=True) for spec in specs]
