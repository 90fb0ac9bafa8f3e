"""A failure: this queue loses bytes. `pytest broken` says where the waveform is."""

import pytest


@pytest.mark.haltable(cycles=20, moves=2, runs=1)
def test_a_full_queue_takes_nothing(fpga_sim):
    queue = fpga_sim("fifo.sv", top="fifo", params={"DEPTH": 4}, reset=("rst_n", 0))
    queue.reset()
    for word in range(4):
        queue.set(in_valid=1, in_data=word)
        queue.step()
    assert queue.in_ready == 0
