"""`python -m hal` proves devices and fails when one is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

import hal.__main__ as command
from hal import SelfTest
from hal.registry import self_tests
from hal.workload import smoke


def test_every_self_test_of_a_device_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["cpu:0", "noop:0"]) == 0
    out = capsys.readouterr().out
    assert out.count("PASS") == len(self_tests("cpu:0"))
    assert "computes nothing" in out


def test_a_wrong_answer_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(uri: str) -> Sequence[SelfTest]:
        test = self_tests(uri)[0]
        answer = bytearray(test.expected[0])
        answer[5] ^= 1
        return [replace(test, expected=(bytes(answer),))]

    monkeypatch.setattr(command, "self_tests", wrong)
    assert command.main(["cpu:0"]) == 1
    assert "byte 5" in " ".join(capsys.readouterr().out.split())


def test_an_unknown_device_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["tpu:0"])
    assert caught.value.code == 2
    assert "cpu:0" in capsys.readouterr().err


def test_a_self_test_that_raises_gives_its_reason() -> None:
    test = replace(self_tests("cpu:0")[0], entry="nowhere")
    assert "ProgramRejected" in (smoke("cpu:0", test) or "")


def test_formats_that_share_tests_agree_on_them() -> None:
    from hal.selftests import for_format

    plain = [(test.name, test.args, test.expected) for test in for_format("numpy")]
    assert plain == [(test.name, test.args, test.expected) for test in for_format("opencl-c")]
    assert len(plain) >= 2
    assert for_format("runes") == ()
