"""The corpus computes what it says: its designs are real, so proofs on them mean something."""

from __future__ import annotations

import cmath
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rtl_sim.design import Design, load_design
from rtl_sim.verilated.player import Player, build_player

CORPUS = Path(__file__).parent / "corpus"
NAMES = sorted(path.parent.name for path in CORPUS.glob("*/design.toml"))


class Bench:
    """A design with its clocks at hand and its resets given."""

    def __init__(self, name: str) -> None:
        self.design: Design = load_design(CORPUS / name / "design.toml")
        self.player = Player(
            build_player(self.design.sources, self.design.top, params=self.design.params)
        )
        for _ in range(4):
            for reset, active in self.design.resets.items():
                self.set(reset, active)
            self.step(*self.design.clocks)
        for reset, active in self.design.resets.items():
            self.set(reset, 1 - active)

    def set(self, port: str, value: int) -> None:
        self.player.set(port, value & ((1 << self.player.ports[port].width) - 1))

    def __getitem__(self, port: str) -> int:
        return self.player.get(port)

    def step(self, *clocks: str) -> None:
        for clock in clocks or self.design.clocks[:1]:
            self.player.set(clock, 1)
            self.player.eval()
            self.player.set(clock, 0)
            self.player.eval()

    def until(self, condition: Callable[[], int], limit: int = 5000) -> None:
        for _ in range(limit):
            if condition():
                return
            self.step()
        pytest.fail(f"nothing happened in {limit} cycles")


def test_the_cipher_gives_the_known_answer_of_fips_197() -> None:
    aes = Bench("aes")
    aes.set("key", 0x000102030405060708090A0B0C0D0E0F)
    aes.set("key_valid", 1)
    aes.step()
    aes.set("key_valid", 0)
    aes.until(lambda: aes["ready"])
    aes.set("block", 0x00112233445566778899AABBCCDDEEFF)
    aes.set("block_valid", 1)
    aes.step()
    aes.set("block_valid", 0)
    aes.until(lambda: aes["result_valid"])
    assert aes["result"] == 0x69C4E0D86A7B0430D8CDB78070B4C55A


def test_the_processor_sorts_what_it_made_from_its_seed() -> None:
    cpu = Bench("rv32")
    cpu.set("in_port", 0xC0FFEE)
    seed, words = 0xC0FFEE, []
    for _ in range(24):
        seed ^= seed << 13 & 0xFFFFFFFF
        seed ^= seed >> 17
        seed ^= seed << 5 & 0xFFFFFFFF
        words.append(seed)
    shown: list[int] = []
    for _ in range(20_000):
        cpu.step()
        if cpu["out_valid"]:
            shown.append(cpu["out_port"])
        if len(shown) == 24:
            break
    assert shown == sorted(words)


def test_the_transform_is_the_discrete_fourier_transform() -> None:
    fft = Bench("fft")
    rng = random.Random(5)
    block = [complex(rng.randrange(-9000, 9000), rng.randrange(-9000, 9000)) for _ in range(64)]
    fft.set("en", 1)
    shown: list[complex] = []
    for cycle in range(64 * 6):
        value = block[cycle % 64]
        fft.set("first", cycle % 64 == 0)
        fft.set("d", (int(value.real) & 0xFFFF) << 16 | int(value.imag) & 0xFFFF)
        fft.step()
        if fft["q_first"] or shown:
            real, imag = np.array([fft["q"] >> 16, fft["q"] & 0xFFFF], np.uint16).view(np.int16)
            shown.append(complex(int(real), int(imag)))
    wanted = np.fft.fft(block) / 64
    order = [int(f"{index:06b}"[::-1], 2) for index in range(64)]
    blocks = [shown[at : at + 64] for at in range(0, len(shown) - 63, 64)]
    errors = [max(abs(y - wanted[k]) for y, k in zip(b, order, strict=True)) for b in blocks]
    assert min(errors) < 8, errors
    assert max(map(abs, wanted)) > 500
    assert cmath.isfinite(wanted[0])


def test_the_filter_sums_its_last_samples() -> None:
    fir = Bench("fir")
    rng = random.Random(6)
    taps, samples = 16, [0] * 16
    fir.set("out_ready", 1)
    for _ in range(40):
        sample = rng.randrange(-20_000, 20_000)
        samples = [sample, *samples[: taps - 1]]
        fir.until(lambda: fir["in_ready"])
        fir.set("in_valid", 1)
        fir.set("in_data", sample)
        fir.step()
        fir.set("in_valid", 0)
        fir.until(lambda: fir["out_valid"])
        total = sum((tap + 1) * 37 * value for tap, value in enumerate(samples))
        assert fir["out_data"] == (total >> 15) & 0xFFFF


def test_the_fifo_between_two_clocks_keeps_the_order() -> None:
    fifo = Bench("async_fifo")
    rng = random.Random(7)
    sent: list[int] = []
    got: list[int] = []
    for _ in range(4000):
        fifo.set("wr_en", rng.random() < 0.6)
        fifo.set("wr_data", rng.getrandbits(16))
        fifo.set("rd_en", rng.random() < 0.5)
        fifo.player.eval()
        if rng.random() < 0.5:
            if fifo.player.get("wr_en") and not fifo["wr_full"]:
                sent.append(fifo.player.get("wr_data"))
            fifo.step("wr_clk")
        else:
            fifo.step("rd_clk")
            if fifo["rd_valid"]:
                got.append(fifo["rd_data"])
    assert len(got) > 500
    assert got == sent[: len(got)]


def test_the_uart_hears_itself() -> None:
    uart = Bench("uart")
    uart.set("rx", 1)
    for byte in (0x00, 0xFF, 0x5A, 0x81):
        uart.set("send", 1)
        uart.set("data", byte)
        uart.step()
        uart.set("send", 0)
        heard = []
        for _ in range(120):
            uart.set("rx", uart["tx"])
            uart.step()
            if uart["received"]:
                heard.append(uart["rx_data"])
        assert heard and set(heard) == {byte}
        assert not uart["parity_error"]


def test_the_dma_engine_copies_memory() -> None:
    dma = Bench("axi_dma")
    rng = random.Random(8)
    memory = {0x1000 + 8 * i: rng.getrandbits(64) for i in range(64)}
    for port, value in {"source": 0x1000, "target": 0x8000, "bursts": 8, "start": 1}.items():
        dma.set(port, value)
    dma.step()
    dma.set("start", 0)
    reads: list[int] = []
    writes: list[int] = []
    responses = 0
    for _ in range(3000):
        offered = {port: rng.random() < 0.5 for port in ("arready", "awready", "wready")}
        for port, value in offered.items():
            dma.set(port, value)
        dma.set("rvalid", bool(reads) and rng.random() < 0.7)
        dma.set("rdata", memory[reads[0]] if reads else 0)
        dma.set("bvalid", responses > 0)
        dma.player.eval()
        if dma["arvalid"] and offered["arready"]:
            reads += [dma["araddr"] + 8 * beat for beat in range(dma["arlen"] + 1)]
        if dma["awvalid"] and offered["awready"]:
            writes += [dma["awaddr"] + 8 * beat for beat in range(dma["awlen"] + 1)]
        wrote = dma["wvalid"] and offered["wready"]
        if wrote:
            memory[writes.pop(0)] = dma["wdata"]
        answered, took, last = dma["bvalid"], dma["rvalid"], dma["wlast"]
        dma.step()
        responses += bool(wrote and last) - bool(answered)
        if took:
            reads.pop(0)
        if not dma["busy"]:
            break
    assert not dma["busy"] and not dma["error"]
    assert [memory[0x8000 + 8 * i] for i in range(64)] == [
        memory[0x1000 + 8 * i] for i in range(64)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_design_of_the_corpus_says_what_its_clocks_are(name: str) -> None:
    design = load_design(CORPUS / name / "design.toml")
    text = "".join(path.read_text(encoding="utf-8") for path in design.sources)
    assert design.clocks and all(clock in text for clock in (*design.clocks, *design.resets))
