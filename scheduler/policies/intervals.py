"""How long a job should work between two saves, so that saving and what is lost cost least.

J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 17 (1974);
J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future
Generation Computer Systems 22 (2006). Failures come at random, at a constant rate. Seconds
throughout; an interval is from the end of a save to the beginning of the next.
"""

from __future__ import annotations

from math import exp, expm1, sqrt


def young_s(save_s: float, mtbf_s: float) -> float:
    """First order: good while a save is short against the mean time between failures."""
    return sqrt(2 * save_s * mtbf_s)


def daly_s(save_s: float, mtbf_s: float) -> float:
    """Higher order: also good when it is not."""
    if save_s >= 2 * mtbf_s:
        return mtbf_s
    ratio = save_s / (2 * mtbf_s)
    return young_s(save_s, mtbf_s) * (1 + sqrt(ratio) / 3 + ratio / 9) - save_s


def stretch(interval_s: float, save_s: float, restart_s: float, mtbf_s: float) -> float:
    """Expected time over time of work, if it is saved at that interval: Daly's complete model."""
    attempts = expm1((interval_s + save_s) / mtbf_s) / interval_s
    return mtbf_s * exp(restart_s / mtbf_s) * attempts


def mtbf_s(given_s: float, lost: int, up_s: float) -> float:
    """Of one device: `lost` of them in `up_s` of all of them together. What is given counts as one
    failure seen in that time, so it is soon outweighed if it was wrong."""
    return (given_s + up_s) / (1 + lost)
