"""The digit images that scikit-learn ships (1797 of 8 x 8 pixels), split and scaled.

The split is seeded and stratified, the same on every machine: what is held out here is what the
demo later scores on an FPGA. Nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 8  # pixels per row and rows per image
PIXELS = SIDE * SIDE
CLASSES = 10
BRIGHTEST = 16  # pixel values are 0 to 16
HELD_OUT_OF = 5  # one image in five is held out
SPLIT_SEED = 1797  # of the split alone, so that every training seed is scored on the same images


@dataclass(frozen=True, slots=True)
class Digits:
    """Images [n, 64] float32 in 0 to 1, row by row, and their labels [n] int32."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int32]
    held_out_images: NDArray[np.float32]
    held_out_labels: NDArray[np.int32]


def load_digits() -> Digits:
    """The digits, split. Of every class, the same share is held out."""
    from sklearn.datasets import load_digits as bundled  # slow to import: only where needed

    pixels, targets = bundled(return_X_y=True)
    images = (pixels / BRIGHTEST).astype(np.float32)
    labels = targets.astype(np.int32)
    rng = np.random.default_rng(SPLIT_SEED)
    train: list[int] = []
    held_out: list[int] = []
    for label in range(CLASSES):
        members = rng.permutation(np.flatnonzero(labels == label))
        cut = len(members) // HELD_OUT_OF
        held_out.extend(members[:cut])
        train.extend(members[cut:])
    train.sort()
    held_out.sort()
    return Digits(images[train], labels[train], images[held_out], labels[held_out])
