"""Act 2: the trained nets, exported to ONNX and compiled, score held-out images over HTTP."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from rich.table import Table

from scheduler.live.pool import Tier
from service.demo.client import Client
from service.demo.export import INPUT, export_all, model_input, run_onnx
from service.demo.nets import NETS, Net
from service.demo.show import Show, busy
from service.deploy import deploy
from service.gateway import Gateway

MAX_LOSS = 0.01  # accuracy, against onnxruntime in float32
TIERS = {"mlp": Tier.STANDARD, "lstm": Tier.BASIC}

Answer = tuple[list[float], int]  # probabilities, cycles


def samples(net: Net, images: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Each image as one request's tensor."""
    return [model_input(net, image[None]) for image in images]


def act(show: Show, gateway: Gateway, port: int, weights: Path) -> dict[str, list[Answer]]:
    """The answers of both nets to every held-out image, by uninterrupted runs."""
    images, labels = show.digits.held_out_images, show.digits.held_out_labels
    models = export_all(weights, show.report, show.digits)
    with busy(show.console) as progress:
        for name, path in models.items():
            progress.add_task(f"compiling {name}, loading it on a simulated FPGA")
            job = deploy(gateway, show.pool, name, path, tenant="delta", tier=TIERS[name])
            show.names[job] = name
    answers = {}
    table = Table("net", "images", "held-out accuracy", "onnxruntime", "cycles per inference")
    for name, path in models.items():
        net = NETS[name]()
        with (
            Client("127.0.0.1", port) as client,
            Progress(
                console=show.console, transient=True, disable=not show.console.is_terminal
            ) as progress,
        ):
            inputs = samples(net, images)
            answers[name] = [
                client.infer(name, INPUT[name], x)
                for x in progress.track(inputs, description=f"scoring with {name} over HTTP")
            ]
        ours = accuracy(answers[name], labels)
        theirs = float((run_onnx(path.read_bytes(), net, images).argmax(1) == labels).mean())
        cycles = statistics.median(cycles for _, cycles in answers[name])
        table.add_row(name, str(len(images)), f"{ours:.4f}", f"{theirs:.4f}", f"{cycles:.0f}")
        show.check(
            f"{name}: accuracy on the FPGA is onnxruntime's within a point",
            f"{theirs:.4f}",
            f"{ours:.4f}",
            ours >= theirs - MAX_LOSS,
        )
    show.console.print(table)
    return answers


def accuracy(answers: Sequence[Answer], labels: NDArray[np.int32]) -> float:
    return float((np.array([np.argmax(values) for values, _ in answers]) == labels).mean())
