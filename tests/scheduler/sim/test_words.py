"""Words and files of clusters, planets, faults, quotas: what cannot be is refused, all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.errors import TraceDamaged
from scheduler.quota_file import read_quotas
from scheduler.sim.cluster import read_cluster
from scheduler.sim.costs import Costs
from scheduler.sim.faults import read_faults
from scheduler.sim.planet_faults import shared_out
from scheduler.sim.planets import read_planet
from scheduler.traces.calibrate import read_workload

PLANET = read_planet("2x1x2x4xV100")
READ: dict[str, Callable[[str], object]] = {
    "cluster": read_cluster,
    "planet": read_planet,
    "faults": read_faults,
    "planet faults": lambda text: shared_out(read_faults(text), PLANET, 1),
}
WORDS = {
    "cluster": "16x4xV100,10x2xK80",
    "planet": "4x2x160x8xV100,4x1x16x4xU250:fpga",
    "faults": "node:mtbf=30d,mttr=4h;straggler:mtbf=10d,mttr=2h,speed=0.5;"
    "outage:nodes=a-*,at=1h,lasts=2h",
    "planet faults": "store:mtbf=5d,mttr=30m,slow=5;drain:nodes=*/*,at=5h,notice=30m,lasts=2h",
}
FILES = {
    "cluster": "kind = 'gpu'\n[[nodes]]\nname = 'a'\ncount = 16\ndevices = 4\ntype = 'V100'\n",
    "planet": "[[region]]\nname = 'n'\nzone_h = 8\n[[cluster]]\nname = 'c'\nregion = 'n'\n"
    "cluster = '2x2xV'\nspeed = 1.0\n",
    "faults": "[node]\nmtbf = '30d'\nmttr = '4h'\n"
    "[[outage]]\nnodes = 'a'\nat = '1h'\nlasts = '1h'\n",
    "planet faults": "[region]\nmtbf = '30d'\nmttr = '4h'\n",
    "quotas": "half_life_s = 60\n[[quota]]\nname = 'lab'\ngpu = 9\n"
    "[[quota]]\nname = 'lab/a'\ngpu = 3\n",
    "costs": '{"format": "haltere-halting-costs", "version": 1, "costs": {"save_us": 3}}',
    "workload": '{"format": "haltere-workload", "version": 1, "origin": "x", "gap_s": 1}',
}
PIECES = (*",;:=x-*[]'\"\n", "0", "9" * 20, "nan", "1e999", "-1", "true", "[]", "{}", "é", "")
CUTS = st.lists(
    st.tuples(st.integers(0, 120), st.integers(0, 6), st.sampled_from(PIECES)), max_size=3
)
quick = settings(
    max_examples=150, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def changed(text: str, cuts: list[tuple[int, int, str]]) -> str:
    for at, length, piece in cuts:
        text = text[:at] + piece + text[at + length :]
    return text


@quick
@given(kind=st.sampled_from(sorted(WORDS)), cuts=CUTS)
def test_words_are_read_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, cuts: list[tuple[int, int, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        READ[kind](changed(WORDS[kind], cuts))
    except TraceDamaged as error:
        assert len(str(error)) > 10


@quick
@given(kind=st.sampled_from(sorted(FILES)), cuts=CUTS)
def test_files_are_read_or_refused_by_their_names(
    tmp_path: Path, kind: str, cuts: list[tuple[int, int, str]]
) -> None:
    path = tmp_path / "given.toml"
    path.write_text(changed(FILES[kind], cuts))
    of_path: dict[str, Callable[[Path], object]] = {
        "quotas": lambda found: read_quotas(found, ["gpu"]),
        "costs": Costs.read,
        "workload": read_workload,
    }
    try:
        of_path[kind](path) if kind in of_path else READ[kind](str(path))
    except TraceDamaged as error:
        assert "given.toml" in str(error) or kind == "planet faults" or "cluster" in str(error)


@pytest.mark.parametrize("text", ["gpu = " + "9" * 5000, "gpu = " + "[" * 5000 + "]" * 5000])
def test_quotas_that_no_reader_of_toml_can_hold_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "quotas.toml"
    path.write_text(f"[[quota]]\nname = 'lab'\n{text}\n")
    with pytest.raises(TraceDamaged, match="no TOML"):
        read_quotas(path, ["gpu"])


def test_words_may_be_longer_than_the_name_of_a_file() -> None:
    spec = ";".join(f"outage:nodes=node0-{n},at={n}h,lasts=1h" for n in range(200))
    assert len(read_faults(spec).planned) == 200
    with pytest.raises(TraceDamaged, match="cluster"):
        read_cluster("x" * 5000)
    with pytest.raises(TraceDamaged, match="cluster"):
        read_cluster("9" * 5000 + "x1xV100")
    with pytest.raises(TraceDamaged, match="planet"):
        read_planet("9" * 9 + "x1x1x1xV100")
