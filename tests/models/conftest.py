"""The example's nets, trained once for all tests here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"
TRAIN_TIMEOUT_S = 300


def run_example(script: str, *args: str, timeout_s: float = TRAIN_TIMEOUT_S) -> str:
    """What an example prints, run as its user would."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *args],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Trained:
    folder: Path
    said: str  # by the example

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.onnx"

    def samples(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Held out: inputs, each with its batch of one, and labels."""
        with np.load(self.folder / f"{name}.npz") as archive:
            return archive["x"], archive["labels"]


@pytest.fixture(scope="session")
def example() -> Callable[..., str]:
    return run_example


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("models")
    return Trained(folder, run_example("train.py", "--out", str(folder)))
