"""A planet in simulated time: nothing is lost and nothing runs twice, whatever is out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scheduler.errors import Infeasible, TraceDamaged
from scheduler.hierarchy.cluster import Engine
from scheduler.hierarchy.params import LevelParams
from scheduler.policies.quotas import Quota, Quotas
from scheduler.policies.round import ElasticParams
from scheduler.sim.costs import Costs
from scheduler.sim.faults import read_faults
from scheduler.sim.native_site import NativeSite
from scheduler.sim.network import Outage, Weather
from scheduler.sim.planet import PlanetRun
from scheduler.sim.planet_faults import SiteFaults, shared_out
from scheduler.sim.planets import Planet, read_planet
from scheduler.sim.site import PythonSite
from scheduler.traces.packed import JOB, Jobs
from scheduler.traces.synthetic import Assumed, S, generate, workload_named

TENANTS = ("ann", "bob", "cyd")
SMALL = read_planet("2x2x2x4xV100")
PARAMS = LevelParams(region_tick_s=60, global_tick_s=120, worth_moving=0.01)


def stream(
    planet: Planet, count: int, every_s: float = 120.0, seed: int = 1, longest_s: float = 3000
) -> Jobs:
    """Most of it in region 0, so that jobs have reason to move."""
    assumed = Assumed(premium=0.1, standard=0.1, tenants=len(TENANTS))
    jobs = generate(workload_named("philly"), assumed, count, seed, largest=4)
    jobs["at_us"] = np.arange(count) * round(every_s * S)
    jobs["work_us"] = np.minimum(jobs["work_us"], round(longest_s * S))
    drawn = np.random.Generator(np.random.PCG64(seed))
    jobs["home"] = drawn.random(count) < 0.1
    return jobs


def planet_run(
    jobs: Jobs,
    weather: Weather | None = None,
    outages: Sequence[Outage] = (),
    quotas: Quotas | None = None,
    planet: Planet = SMALL,
    params: LevelParams = PARAMS,
    native: bool = False,
    faults: str = "",
    seed: int = 1,
) -> PlanetRun:
    """With faults, jobs are saved."""
    each = shared_out(read_faults(faults), planet, seed) if faults else None

    def site(index: int) -> Engine:
        return engine(planet, index, native, each[index] if each else None)

    return PlanetRun(planet, jobs, TENANTS, site, params, weather, outages, quotas)


def engine(planet: Planet, index: int, native: bool, faults: SiteFaults | None = None) -> Engine:
    cluster = planet.sites[index].cluster
    params = ElasticParams(saves=faults is not None)
    if native:
        return NativeSite(cluster, Costs(), params, 0.8, faults=faults)
    return PythonSite(cluster, Costs(), params, TENANTS, 0.8, faults=faults)


def finished(run: PlanetRun, most_ticks: int = 3000) -> PlanetRun:
    """Every job has one holder after every tick, and ends."""
    for _ in range(most_ticks):
        going = run.step()
        held = run.holders()
        assert np.all(held == 1), np.flatnonzero(held != 1) + 1
        if not going:
            return run
    raise AssertionError(f"{len(run.jobs) - run.ended} jobs did not end by {run.now_us / S} s")


def completion_s(run: PlanetRun) -> float:
    return float(((run.ended_us[1:] - run.jobs["at_us"]) / S).mean())


@pytest.mark.parametrize("native", [False, True])
def test_a_halted_job_goes_on_in_another_cluster_from_where_it_was(native: bool) -> None:
    one, two = (engine(read_planet("1x1x1x4xV100"), 0, native) for _ in range(2))
    jobs = np.zeros(2, JOB)
    jobs["job"], jobs["count"], jobs["least"], jobs["most"], jobs["tier"] = [1, 2], 4, 4, 4, 2
    jobs["at_us"], jobs["work_us"] = [0, 400 * S], [1000 * S, 5000 * S]
    one.submit(jobs)
    one.advance(430 * S)  # job 1 has had 400 s; halting it takes 20
    assert one.movable(8).tolist() == [1] and one.standing().waiting == 4
    assert one.withdraw(1) == (600 * S, True)
    one.advance(500 * S)
    assert one.movable(8).tolist() == [] and one.withdraw(1) is None and one.ended()[0].size <= 1
    carried = jobs[:1].copy()
    carried["at_us"], carried["work_us"], carried["halted"] = 500 * S, 600 * S, 1
    two.submit(carried)
    two.advance(10_000 * S)
    assert [each.tolist() for each in two.ended()] == [[1], [1130 * S]]  # restoring takes 30


def test_jobs_of_a_crowded_region_move_and_all_end_once() -> None:
    run = finished(planet_run(stream(SMALL, 80, every_s=20)))
    assert sum(level.moved_out for level in run.clusters) > 0
    assert sum(level.moved_far for level in run.clusters) > 0
    assert run.net.lost == 0


def test_the_same_seed_gives_the_same_digest_and_another_another() -> None:
    digests = [planet_run(stream(SMALL, 30, seed=seed)).run().digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_native_clusters_give_the_digest_of_python_ones() -> None:
    jobs = stream(SMALL, 80, every_s=20)
    python, native = (planet_run(jobs, native=native).run() for native in (False, True))
    assert python.digest == native.digest
    assert python.within + python.between > 0


FAULTS = (
    "node:mtbf=3h,mttr=20m;region:mtbf=6h,mttr=30m;straggler:mtbf=1h,mttr=30m,speed=0.4;"
    "store:mtbf=1h,mttr=20m,slow=6;outage:nodes=gpu-0-*-0/*,at=30m,lasts=1h"
)


@pytest.mark.parametrize("seed", [1, 2, 6])  # 2, 6: nodes are lost while a job there grows
def test_native_clusters_give_the_digest_of_python_ones_when_nodes_and_regions_fall(
    seed: int,
) -> None:
    jobs, drawn = stream(SMALL, 60, every_s=15, seed=seed), seed + 100
    runs = [planet_run(jobs, native=native, faults=FAULTS, seed=drawn) for native in (False, True)]
    python, native = (run.run() for run in runs)
    assert python.digest == native.digest and python.fallen == native.fallen
    assert python.fallen.restarts > 0 and python.fallen.lost_h > 0
    assert python.within + python.between > 0
    other = planet_run(jobs, native=True, faults=FAULTS, seed=drawn + 1).run()
    assert other.digest != native.digest


@pytest.mark.parametrize("native", [False, True])
def test_no_job_is_lost_or_run_twice_when_nodes_and_regions_fall(native: bool) -> None:
    """With this seed, a job moves after the node failed on which it was about to start."""
    jobs = stream(SMALL, 80, every_s=20)
    run = finished(planet_run(jobs, native=native, faults=FAULTS, seed=11))
    assert run._result(0.0).fallen.losses > 0


@pytest.mark.parametrize("native", [False, True])
def test_a_job_that_lost_its_node_takes_the_work_since_its_checkpoint_up_again_elsewhere(
    native: bool,
) -> None:
    planet = read_planet("1x1x1x4xV100")
    lost = shared_out(read_faults("outage:nodes=*/*,at=1000s,lasts=9h"), planet, 1)
    site = engine(planet, 0, native, lost[0])
    jobs = np.zeros(2, JOB)
    jobs["job"], jobs["count"], jobs["least"], jobs["most"], jobs["tier"] = [1, 2], 2, 2, 2, 2
    jobs["at_us"], jobs["work_us"] = [0, 500 * S], 90_000 * S
    jobs["halted"] = [0, 1]
    site.submit(jobs)
    site.advance(1000 * S)
    assert site.standing()[:3] == (0, 0, 4) and sorted(site.movable(8)) == [1, 2]
    assert [site.withdraw(number) for number in (1, 2)] == [
        (90_000 * S, False),  # it had no checkpoint yet
        (90_000 * S, True),
    ]
    began_s, restored_s = 0, 30
    hours = 2 * (1000 - began_s + 500 - restored_s) / 3600
    assert site.fallen().restarts == 2 and site.fallen().lost_h == pytest.approx(hours)


def test_jobs_of_a_region_that_is_lost_go_on_in_another() -> None:
    jobs = stream(SMALL, 24, every_s=60, longest_s=1500)
    jobs["home"] = 0
    jobs["tier"] = 2
    jobs["state_bytes"] = jobs["data_bytes"] = 0
    words = "outage:nodes=gpu-0-*/*,at=10m,lasts=100h"
    run = planet_run(jobs, faults=words)
    while run.now_us < 700 * S:
        run.step()
    assert [level.engine.standing().capacity for level in run.clusters] == [0, 0, 8, 8]
    finished(run)
    assert run.now_us < 50 * 3600 * S
    assert run._result(0.0).between > 0 and run._result(0.0).fallen.restarts > 0


def test_a_planet_whose_nodes_stay_down_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.sim.planet.STUCK_TICKS", 300)
    run = planet_run(stream(SMALL, 24), faults="outage:nodes=*/*,at=20m,lasts=900y", native=True)
    with pytest.raises(Infeasible, match="of 24 jobs ended, then none came or ended in 300 ticks"):
        run.run()


def test_the_global_level_is_lost_for_an_hour_and_regions_go_on() -> None:
    jobs = stream(SMALL, 60, every_s=60)
    calm = finished(planet_run(jobs))
    lost = finished(planet_run(jobs, outages=[Outage("global", 300, 3900)]))
    assert lost.net.counts["Guide"] < calm.net.counts["Guide"]
    assert completion_s(lost) < 2 * completion_s(calm)


def test_a_region_level_is_lost_for_good_and_its_front_and_clusters_go_on() -> None:
    jobs = stream(SMALL, 40)
    run = finished(planet_run(jobs, outages=[Outage("region-0", 0, 1e9)]))
    at_home = [level for level in run.clusters if level.region == 0]
    assert all(len(level.jobs()) == 0 for level in run.clusters)
    assert all(level.engine.standing().capacity == 8 for level in at_home)


def test_a_front_that_is_lost_takes_jobs_in_when_it_is_back() -> None:
    run = finished(planet_run(stream(SMALL, 20), outages=[Outage("front-0", 0, 4000)]))
    first_us = run.ended_us[1:][run.jobs["home"] == 0].min()
    assert first_us > 4000 * S


def test_a_cluster_that_is_cut_off_goes_on_and_jobs_given_to_it_meanwhile_wait_for_it() -> None:
    jobs = stream(SMALL, 40)
    run = finished(planet_run(jobs, outages=[Outage("cluster-0", 600, 4000)]))
    assert run.net.lost > 0


def test_summaries_that_are_older_than_the_bound_are_not_believed() -> None:
    """Everything takes ten minutes, the bound is five: jobs are dealt by size, none move."""
    late = Weather(middle_s=600.0, far_s=600.0)
    run = finished(planet_run(stream(SMALL, 40, every_s=60), weather=late))
    assert sum(level.moved_far for level in run.clusters) == 0


outages = st.lists(
    st.builds(
        lambda level, since, lasts: Outage(level, since, since + lasts),
        st.sampled_from(
            ["global", "region-0", "region-1", "front-0", "front-1", "cluster-0", "cluster-3"]
        ),
        st.sampled_from([0, 130, 700, 1500]),
        st.sampled_from([60, 900, 4000]),
    ),
    max_size=4,
)


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    outages,
    st.sampled_from([0.0, 0.1, 0.4]),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 2.0, 5000.0]),
    st.integers(1, 50),
)
def test_no_job_is_lost_or_run_twice_whatever_happens_to_messages_and_levels(
    out: list[Outage], lost: float, twice: float, jitter: float, seed: int
) -> None:
    weather = Weather(lost=lost, twice=twice, jitter=jitter)
    finished(planet_run(stream(SMALL, 30, every_s=40, seed=seed), weather, out))


def test_tenants_beyond_their_quota_are_held_back_while_others_ask_for_theirs() -> None:
    quotas = Quotas(
        [Quota("ann", {"gpu": 4}), Quota("bob", {"gpu": 14}), Quota("cyd", {"gpu": 14})]
    )
    jobs = stream(SMALL, 120, every_s=5)
    jobs["work_us"] = 1500 * S
    drawn = np.random.Generator(np.random.PCG64(5))
    jobs["tenant"] = np.where(drawn.random(120) < 0.8, 0, drawn.integers(1, 3, 120))
    run = planet_run(jobs, quotas=quotas)
    held_back = np.zeros(3, np.int64)
    for _ in range(12):
        run.step()
        for front in run.fronts:
            held_back += np.bincount(front.waiting["tenant"], minlength=3)
    assert held_back[0] > 10 * max(held_back[1:].max(), 1)
    result = finished(run)._result(0.0)
    assert min(result.let_in.get(tenant, 1.0) for tenant in ("bob", "cyd")) == 1.0


def test_clusters_of_other_kinds_get_jobs_of_theirs() -> None:
    planet = read_planet("1x1x2x4xV100,1x2x1x2xU250:fpga")
    jobs = stream(planet, 20)
    jobs["home"] = 0
    fpga = jobs["job"] % 3 == 0
    jobs["kind"][fpga] = 1
    for name in ("count", "least", "most"):
        jobs[name][fpga] = 1
    run = finished(planet_run(jobs, planet=planet))
    counts = [level.engine.executor.ended for level in run.clusters]  # type: ignore[attr-defined]
    assert sum(counts[1:]) == int(fpga.sum()) and min(counts) > 0


def test_streams_and_outages_that_cannot_be_are_refused() -> None:
    jobs = stream(SMALL, 5)
    jobs["count"][2] = 9
    with pytest.raises(Infeasible, match="a job asks for 9 gpu, its largest cluster"):
        planet_run(jobs)
    with pytest.raises(Infeasible, match="numbered"):
        planet_run(stream(SMALL, 5)[1:])
    with pytest.raises(Infeasible, match="outage of 'moon'"):
        planet_run(stream(SMALL, 5), outages=[Outage("moon", 0, 1)])
    with pytest.raises(Infeasible, match="shares of messages"):
        Weather(lost=1.0)


def test_faults_that_cannot_be_are_refused() -> None:
    for words, found in (
        ("region:count=4,mtbf=1d,mttr=1h", "its own regions"),
        ("window:nodes=*,at=1h,within=4h,notice=0s,lasts=1h", "no windows of maintenance"),
        ("outage:nodes=*,at=1h,lasts=1h", "no CLUSTER/NODE"),
        ("store:mtbf=59s,mttr=1h", "mtbf 59s is below 60s"),
        ("outage:nodes=moon/*,at=1h,lasts=1h", "no CLUSTER/NODE"),
        ("outage:nodes=*/moon,at=1h,lasts=1h", "no node is called 'moon'"),
    ):
        with pytest.raises(TraceDamaged, match=found):
            planet_run(stream(SMALL, 5), faults=words)
    with pytest.raises(Infeasible, match="drains"):
        drain = "drain:nodes=*/*,at=1h,notice=1h,lasts=1h"
        planet_run(stream(SMALL, 5), faults=drain, native=True)


PLANET = """
[[region]]
name = "north"
zone_h = 8
[[region]]
name = "south"
[[cluster]]
name = "n1"
region = "north"
cluster = "4x8xV100"
[[cluster]]
name = "s1"
region = "south"
cluster = "2x4xU250"
kind = "fpga"
speed = 0.5
"""


def test_a_planet_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(PLANET)
    planet = read_planet(str(path))
    assert planet.regions == ("north", "south") and planet.zones_h == (8.0, 0.0)
    assert planet.devices("gpu") == 32 and planet.devices() == 40
    assert planet.sites[1].cluster.kind == "fpga" and planet.sites[1].speed == 0.5
    assert planet.largest("gpu") == 32


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('region = "south"', 'region = "moon"'),
        ('name = "s1"', 'name = "n1"'),
        ("speed = 0.5", "speed = 0"),
        ("speed = 0.5", 'colour = "red"'),
        ("zone_h = 8", 'zone_h = "x"'),
        ('cluster = "2x4xU250"', 'cluster = "two"'),
        ("[[cluster]]", "[[clusters]]"),
        ('kind = "fpga"', 'kind = "npu"'),
    ],
)
def test_a_damaged_planet_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(PLANET.replace(old, new))
    with pytest.raises(TraceDamaged, match=r"p\.toml|two"):
        read_planet(str(path))


@pytest.mark.parametrize(
    "word", ["4x2", "2x1x4x8xV100,3x1x4x8xV100", "1x1x4x8xV100:npu", "0x0x1x1xA"]
)
def test_a_damaged_word_is_refused(word: str) -> None:
    with pytest.raises(TraceDamaged):
        read_planet(word)
