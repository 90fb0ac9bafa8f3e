"""The training job of the demo: `python -m service.demo.train --net both --out weights.npz`.

An ordinary user program. It opens the device that HALTERE_DEVICE names, trains, and writes the
weights; whether the device is direct or proxied, and whether the job is halted and moved under
way, it does not know. The same arguments give the same bits on every device of one part.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hal import Context, Program, open_device
from hal.errors import HalError
from hal.registry import DEVICE_VARIABLE
from service.demo.data import Digits, load_digits
from service.demo.layers import load_program
from service.demo.nets import NETS, Net, Vector, digest, named, save_weights
from service.demo.progress import Pace, reporting, say
from service.demo.trainer import Recipe, Samples, trainer_for

DEFAULT_DEVICE = "opencl:0"
DEFAULT_STEPS = 3000  # 66 epochs: past what accuracy needs, long enough to be preempted
REPORT_EVERY = 200  # steps between two readings; so many are at most under way on the device


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    names = tuple(NETS) if args.net == "both" else (args.net,)
    digits = load_digits()
    try:
        trained = train(args, [NETS[name]() for name in names], digits)
    except HalError as error:
        say(f"{error.code}: {error}", sys.stderr)
        return 1
    weights = named(trained)
    save_weights(args.out, weights)
    say(f"weights {args.out}")
    say(f"sha256 {digest(weights)}")
    for net, vector in trained:
        say(
            f"{net.name} accuracy: "
            f"train {net.accuracy(vector, digits.train_images, digits.train_labels):.4f}, "
            f"held out {net.accuracy(vector, digits.held_out_images, digits.held_out_labels):.4f}"
        )
    return 0


def train(
    args: argparse.Namespace, nets: Sequence[Net], digits: Digits
) -> list[tuple[Net, Vector]]:
    """Train the nets one after the other in one context."""
    samples = Samples(digits.train_images, digits.train_labels)
    with open_device(args.device) as device, device.open_context() as context:
        say(f"training {', '.join(net.name for net in nets)} on {device.info.uri}")
        program = load_program(context)
        return [(net, _train_one(args, context, program, net, samples)) for net in nets]


def _train_one(
    args: argparse.Namespace, context: Context, program: Program, net: Net, samples: Samples
) -> Vector:
    recipe = Recipe(args.steps, args.seed)
    trainer = trainer_for(context, program, net, recipe, samples)
    pace = Pace()
    with reporting(f"training {net.name}", recipe.steps) as report:
        while not trainer.done:
            trainer.step()
            count = trainer.step_count
            if count % args.report_every == 0 or trainer.done:
                score = trainer.read_score()
                report(
                    count,
                    f"{net.name} step {count}/{recipe.steps}: loss {score.loss:.4f}, "
                    f"accuracy {score.accuracy:.4f}, {pace.at(count):.0f} steps/s",
                )
            if args.digest_every and count % args.digest_every == 0:
                report(
                    count, f"{net.name} step {count} sha256 {_digest(net, trainer.read_weights())}"
                )
    vector = trainer.read_weights()
    trainer.free()
    return vector


def _digest(net: Net, vector: Vector) -> str:
    return digest(named([(net, vector)]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service.demo.train", description="Train nets on the digits images."
    )
    parser.add_argument("--net", choices=(*NETS, "both"), default="both")
    parser.add_argument("--steps", type=_positive, default=DEFAULT_STEPS, help="of each net")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="where the weights go (.npz)")
    parser.add_argument(
        "--digest-every", type=int, default=0, help="print weights' SHA-256 so often"
    )
    parser.add_argument("--report-every", type=_positive, default=REPORT_EVERY)
    parser.add_argument(
        "--device",
        default=os.environ.get(DEVICE_VARIABLE, DEFAULT_DEVICE),
        help=f"device URI (default: {DEVICE_VARIABLE}, else {DEFAULT_DEVICE})",
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
