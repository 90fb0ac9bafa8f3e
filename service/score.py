"""Batch inference as a job: `python -m service.score --known NAME=FILE --model NAME --passes N`.

An ordinary user program on the device that HALTERE_DEVICE names: one of the models that the service
knows, on inputs drawn from a seed; the digest of all answers is what it prints. `haltere submit
score` runs it on the devices that a served model does not need.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import hal
from compiler.frontend import parse_dim
from hal.registry import DEVICE_VARIABLE

MAX_PASSES = 10_000_000


def score(
    model: Path, device: str, target: str, dims: Mapping[str, int], passes: int, seed: int
) -> str:
    """The digest. Raises what `hal.serve` and its calls raise."""
    drawn, found = np.random.default_rng(seed), hashlib.sha256()
    with hal.serve(model, device=device, target=target, dims=dims) as served:
        for _ in range(passes):
            inputs = {spec.name: drawn.normal(size=spec.shape) for spec in served.inputs}
            answer = served({name: x.astype(np.float32) for name, x in inputs.items()})
            outputs = answer if isinstance(answer, dict) else {"": answer}
            for name in sorted(outputs):
                found.update(np.ascontiguousarray(outputs[name]).tobytes())
    return found.hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--known", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--model", help="default: the first that is known")
    parser.add_argument("--target", default="npu:sim")
    parser.add_argument("--dim", action="append", default=[], metavar="SYMBOL=NUMBER")
    parser.add_argument("--passes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    models = dict(known.split("=", 1) for known in given.known)
    dims, device = dict(parse_dim(text) for text in given.dim), os.environ[DEVICE_VARIABLE]
    path = Path(models[given.model or next(iter(models))])
    digest = score(path, device, given.target, dims, given.passes, given.seed)
    sys.stdout.write(f"{digest}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
