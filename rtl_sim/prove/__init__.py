"""Proof that a captured design can be halted: by generated stimulus, counted and repeatable.

`prove(design)` captures a design twice, with options that have nothing in common but the state,
and plays random stimulus into the original and into captured instances side by side:

- *as written*: with `sp_run` 1 a captured instance shows at every row what the original shows;
- *the halting law*: at random instants one instance is frozen and saved, its state loaded into a
  fresh instance of the other build in which every bit was noise, and both go on; every output at
  every row and all state at the end are those of an instance that was never halted;
- *coverage*: noise and its complement are written to every bit of state and read back;
- *control*: a restore from which one segment is missing must be noticed.

One (stimulus, cycle) pair is one freeze. A third of the stimuli start from noise instead of reset,
where states are reached that no stimulus finds in a while. The first divergence is played again
with waveforms of both sides, and the signals that differ are named (`waveform.py`).

`prove_bench` has the user's own cocotb tests run instead while the state moves (`bench.py`).

`stimulus.py` makes rows, `builds.py` the models, `check.py` plays and compares, `tool.py` is the
order of the steps, `equivalence.py` has Yosys prove the first law for all inputs and states where
the design is small enough.
"""

from rtl_sim.prove.bench import BenchReport, prove_bench
from rtl_sim.prove.report import Divergence, ProofReport
from rtl_sim.prove.tool import assert_haltable, prove

__all__ = [
    "BenchReport", "Divergence", "ProofReport", "assert_haltable", "prove", "prove_bench"
]  # fmt: skip
