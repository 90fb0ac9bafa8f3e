"""The transmitter: what goes in comes out, also when it is halted and moved in mid-byte."""

import pytest
from conftest import BYTE_CYCLES


def test_the_line_rests_high(uart):
    uart.dut.step(5)
    assert uart.dut.tx == 1
    assert uart.dut.idle == 1


@pytest.mark.haltable(cycles=4 * BYTE_CYCLES, moves=4)
@pytest.mark.parametrize("data", [b"\x00\xff", b"halt"])
def test_what_is_sent_is_received(uart, data):
    uart.send(data)
    assert uart.receive(len(data)) == data


@pytest.mark.haltable(cycles=60, moves=3)
def test_a_full_queue_takes_nothing(uart):
    uart.send(bytes(range(9)))  # eight wait, one is being sent
    assert uart.dut.in_ready == 0
    uart.dut.set(in_valid=1, in_data=0xEE)
    uart.dut.step(3)
    uart.dut.in_valid = 0
    assert uart.dut.memories["queue.words"].count(0xEE) == 0
    uart.dut.run_until(lambda: uart.dut.in_ready, max_cycles=BYTE_CYCLES)


def test_one_prefix_many_endings(uart):
    """Get to the interesting point once, then try what may happen next from there."""
    uart.send(b"abc")
    uart.dut.step(100)
    middle = uart.dut.save()
    cycles = []
    for last in (b"", b"x", b"yz"):
        uart.dut.load(middle)
        uart.send(last)
        cycles.append(
            len(last) + uart.dut.run_until(lambda: uart.dut.idle, max_cycles=6 * BYTE_CYCLES)
        )
    assert cycles == [cycles[0], cycles[0] + BYTE_CYCLES, cycles[0] + 2 * BYTE_CYCLES]


def test_the_registers_can_be_looked_at(uart):
    uart.send(b"\xa5")
    uart.dut.step(1)
    assert uart.dut.registers["bits_left"] == 10
    assert uart.dut.registers["frame"] == 0b1_10100101_0
