"""The transmitter and its two friends: who sends, and who listens on the line."""

import pytest

DIVISOR = 8
BYTE_CYCLES = 10 * DIVISOR + 1


class Uart:
    def __init__(self, dut):
        self.dut = dut

    def send(self, data):
        """Hand over bytes as fast as the queue takes them."""
        for byte in data:
            self.dut.run_until(lambda: self.dut.in_ready, max_cycles=BYTE_CYCLES)
            self.dut.set(in_valid=1, in_data=byte)
            self.dut.step()
            self.dut.in_valid = 0

    def receive(self, count):
        """Listen on the line, sampling in the middle of each bit."""
        data = bytearray()
        for _ in range(count):
            self.dut.run_until(lambda: not self.dut.tx, max_cycles=2 * BYTE_CYCLES)
            self.dut.step(DIVISOR // 2)
            byte = 0
            for bit in range(8):
                self.dut.step(DIVISOR)
                byte |= self.dut.tx << bit
            self.dut.step(DIVISOR)
            assert self.dut.tx == 1, "no stop bit"
            data.append(byte)
        return bytes(data)


@pytest.fixture
def uart(fpga_sim):
    dut = fpga_sim(
        "../rtl/fifo.sv",
        "../rtl/uart_tx.sv",
        top="uart_tx",
        params={"DIVISOR": DIVISOR},
        reset=("rst_n", 0),
    )
    dut.reset()
    return Uart(dut)
