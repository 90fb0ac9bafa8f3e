"""The pytest plugin `haltere`: simulated FPGAs for tests, and tests that are halted and moved.

Every pytest run of an environment loads this module, so it imports nothing but pytest; what
simulates is loaded by the first test that takes the fixture. `docs/testing-your-rtl.md` is the
manual. Everything about one test hangs on its item: no state of its own, safe under xdist.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hal.testing.fpga_sim import FpgaSim
    from hal.testing.halts import HaltPlan

RUNS, MOVES, CYCLES = 3, 3, 100  # what a bare @pytest.mark.haltable asks for
RANDOM = "random"
SEED_LIMIT = 1 << 32
PROPERTY = "haltere_moves"  # of a report: how often the test's simulations were moved
_MARKER = (
    "haltable(cycles={}, moves={}, runs={}): run the test as it is, then `runs` times more with "
    "everything it simulates halted at `moves` random cycles of the first `cycles`, each time "
    "saved and moved into a fresh simulation full of noise; fails at the first cycle that differs "
    "from an undisturbed run (haltere)"
)
_SIM = pytest.StashKey["FpgaSim"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("haltere", "simulated FPGAs, halted and moved (haltere)")
    group.addoption(
        "--haltere-seed",
        default="0",
        metavar="N",
        help="first seed of the halted runs of @pytest.mark.haltable tests, or 'random'; "
        "a test's id names the seed it ran with (default: 0)",
    )
    group.addoption(
        "--haltere-runs",
        type=int,
        metavar="N",
        help="halted runs of every haltable test, whatever its marker says; 0: only the plain one",
    )
    group.addoption(
        "--haltere-waves",
        metavar="DIR",
        help="folder for the waveforms (VCD) of failed tests (default: in pytest's cache)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER.format(CYCLES, MOVES, RUNS))
    given = str(config.option.haltere_seed)
    if given == RANDOM:  # drawn once: xdist's workers are given this process's options
        given = str(random.SystemRandom().randrange(SEED_LIMIT))
    if not given.isdecimal() or int(given) >= SEED_LIMIT:
        raise pytest.UsageError(f"--haltere-seed {given}: a number below 2^32, or {RANDOM!r}")
    config.option.haltere_seed = int(given)
    if (config.option.haltere_runs or 0) < 0:
        raise pytest.UsageError(f"--haltere-runs {config.option.haltere_runs}: 0 or more")
    if config.option.haltere_waves is not None:  # xdist hands plain values on, and changes folders
        config.option.haltere_waves = str(
            config.invocation_params.dir / config.option.haltere_waves
        )
    config.pluginmanager.register(_Tally(), "haltere-tally")


# ---- one test, many runs


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("haltable")
    if marker is None:
        return
    where = metafunc.definition.nodeid
    if "_haltere_plan" not in metafunc.fixturenames:
        pytest.fail(f"{where} is marked haltable but takes no fpga_sim", pytrace=False)
    from hal.testing.halts import HaltPlan

    asked = _asked(where, marker)
    config = metafunc.config
    runs = asked["runs"] if config.option.haltere_runs is None else config.option.haltere_runs
    seeds = range(config.option.haltere_seed, config.option.haltere_seed + runs)
    plans = [None, *(HaltPlan(seed, asked["cycles"], asked["moves"]) for seed in seeds)]
    ids = ["plain", *(f"seed{seed}" for seed in seeds)]
    metafunc.parametrize("_haltere_plan", plans, ids=ids, indirect=True)


def _asked(where: str, marker: pytest.Mark) -> Mapping[str, int]:
    """The marker's arguments. Fails the collection, by name, for any that makes no sense."""
    asked = {"cycles": CYCLES, "moves": MOVES, "runs": RUNS}
    wrong = [*map(repr, marker.args), *(name for name in marker.kwargs if name not in asked)]
    asked |= marker.kwargs
    wrong += [f"{name}={value!r}" for name, value in asked.items() if not _counts(value)]
    if wrong:
        pytest.fail(
            f"{where}: haltable takes cycles=, moves= and runs=, each a number from 1; "
            f"not {', '.join(wrong)}",
            pytrace=False,
        )
    return asked


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@pytest.fixture
def _haltere_plan(request: pytest.FixtureRequest) -> HaltPlan | None:
    """How this run of the test is halted; None: not at all."""
    plan: HaltPlan | None = getattr(request, "param", None)
    return plan


# ---- the fixture


@pytest.fixture
def fpga_sim(request: pytest.FixtureRequest, _haltere_plan: HaltPlan | None) -> Iterator[FpgaSim]:
    """A simulated FPGA: fpga_sim("my.sv", top="my", clock="clk") is a design to be driven from
    Python, fpga_sim.overlay("checksum") a context on a device with that overlay."""
    from hal.testing.fpga_sim import FpgaSim, absence

    missing = absence()
    if missing:  # an error, no skip: tests that cannot run must not look like tests that passed
        pytest.fail(f"fpga_sim: {missing}", pytrace=False)
    item = request.node
    sim = FpgaSim(item.path.parent, _haltere_plan, item.nodeid)
    item.stash[_SIM] = sim
    try:
        yield sim
    finally:
        sim.close()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A halted run that got through the test must also end in the undisturbed run's state."""
    result = yield
    sim = pyfuncitem.stash.get(_SIM, None)
    if sim is not None:
        sim.check_end()
    return result


# ---- what is reported


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.option.haltere_seed
    return f"haltere: seed {seed}" if seed else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    sim = item.stash.get(_SIM, None)
    if sim is None or report.when != "call":
        return report
    if sim.plan is not None:
        report.user_properties.append((PROPERTY, sim.moves))
    if report.failed:
        lines = sim.story()
        try:
            lines += sim.write_waves(_waves_folder(item.config))
        except (pytest.fail.Exception, OSError) as error:
            # A time limit's, or there is no room or right; from here it would end the session.
            lines.append(f"no waveform: {error}")
        if sim.plan is not None:
            lines.append(f"again: pytest '{item.nodeid}' --haltere-seed={sim.plan.seed}")
        report.sections.append(("haltere", "\n".join(lines)))
    return report


def _waves_folder(config: pytest.Config) -> Path:
    given: str | None = config.option.haltere_waves
    if given is not None:
        return Path(given)
    cache: pytest.Cache | None = getattr(config, "cache", None)
    return Path(cache.mkdir("haltere-waves")) if cache else config.rootpath / ".haltere-waves"


class _Tally:
    """Counts halted runs where tests are reported: under xdist the controller, which runs none."""

    def __init__(self) -> None:
        self._runs = self._moves = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, moves in report.user_properties if report.when == "call" else ():
            if name == PROPERTY:
                self._runs += 1
                self._moves += int(str(moves))

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        if self._runs:
            terminalreporter.write_line(
                f"haltere: {self._runs} halted runs, {self._moves} moves, "
                f"first seed {config.option.haltere_seed}"
            )
