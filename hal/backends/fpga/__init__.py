"""FPGAs: one driver for every overlay, over a shell. Here: the simulated fabric `fpga-sim`."""

from __future__ import annotations

from hal.backends.fpga.backend import FpgaSimBackend

backend = FpgaSimBackend()

__all__ = ["backend"]
