"""Quotas of tenants on the live pool: what is idle is lent, and recalled by its owner."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from fastapi.testclient import TestClient
from live_jobs import PATIENCE_S, Training, check_journal, lease_spec, output, until
from rich.console import Console
from test_gang_recovery import begin_and_kill, crash_pool
from test_live_gangs import QUICK

from scheduler.errors import Infeasible, StateDiffers
from scheduler.live.pool import JobState, Pool
from scheduler.policies.accounts import Account
from scheduler.policies.elastic import Elastic
from scheduler.policies.quotas import Quota, Quotas
from scheduler.quota_file import read_quotas
from service import cli_quotas, why
from service.app import create_app
from service.control import Control
from service.gateway import Gateway
from service.settings import Settings

DEVICES = ["cpu:0", "cpu:1"]
LEVEL = replace(QUICK, first_level_s=3600)  # of a tenant's jobs it is the second that borrows
FILE = """
[[quota]]
name = "lab"
cpu = 2
[[quota]]
name = "lab/ann"
cpu = 1
[[quota]]
name = "lab/bob"
cpu = 1
"""


def lab(folder: Path) -> Quotas:
    path = folder / "quotas.toml"
    path.write_text(FILE)
    return read_quotas(path, ["cpu"])


def test_what_a_tenant_borrows_is_recalled_by_its_owner_and_goes_on_later(
    root: Path, tmp_path: Path
) -> None:
    own, lent = Training(tmp_path, "own"), Training(tmp_path, "lent")
    policy = Elastic(LEVEL, lab(tmp_path))
    with Pool(root, DEVICES, tmp_path / "state", policy=policy) as pool:
        jobs = [pool.submit(each.spec()) for each in (own, lent)]  # both ann's, who has one
        until(lambda: own.at_work(pool) and lent.at_work(pool))
        assert pool.quotas() == (
            Account("lab", "cpu", 2, 2, 0, 0),
            Account("lab/ann", "cpu", 1, 2, 1, 0),
            Account("lab/bob", "cpu", 1, 0, 0, 0),
        )
        with pool.lease(lease_spec("basic"), PATIENCE_S):  # bob's, within its quota
            assert [pool.job(job).state for job in jobs] == ["running", "preempted"]
            (blocker,) = (b for b in pool.job(jobs[1]).blockers if b.why == "over_quota")
            assert (blocker.slices, blocker.jobs) == (2, (1, 3))
            told = " ".join(why.words(msgspec.to_builtins(pool.job(jobs[1]))))
            assert "its tenant has its quota: 2 slices held by jobs 1, 3, who owe less" in told
            assert pool.quotas()[1:] == (
                Account("lab/ann", "cpu", 1, 1, 0, 1),
                Account("lab/bob", "cpu", 1, 1, 0, 0),
            )
            second = pool.submit(replace(lease_spec("basic"), tenant="eve"))
            assert pool.quotas()[3] == Account("eve", "cpu", 0, 0, 0, 1)
            pool.cancel(second)
        own.let_finish()
        lent.let_finish()
        for job, train in zip(jobs, (own, lent), strict=True):
            done = pool.wait(job, PATIENCE_S)
            assert (done.state, output(done)) == (JobState.SUCCEEDED, train.expected())
        assert [pool.job(job).preemptions for job in jobs] == [0, 1]
    check_journal(tmp_path / "state", Elastic(LEVEL, lab(tmp_path)))


def test_no_more_is_promised_to_a_tenant_than_its_own_quota(root: Path, tmp_path: Path) -> None:
    with Pool(root, DEVICES, tmp_path / "state", policy="elastic", quotas=lab(tmp_path)) as pool:
        stranger = replace(lease_spec("premium"), tenant="eve")
        with pytest.raises(Infeasible, match=r"tenant 'eve' has a quota of 0.*the tier basic"):
            pool.submit(stranger)
        with pool.lease(lease_spec("premium"), PATIENCE_S):
            waits = pool.submit(lease_spec("standard"))
            (blocker,) = pool.job(waits).blockers
            assert (blocker.why, blocker.ppm) == ("over_quota", (1_000_000,) * 3)


def test_quotas_are_shown_over_http_and_by_the_command_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = StringIO()
    monkeypatch.setattr(cli_quotas, "console", Console(file=shown, width=100))
    with Pool(root, DEVICES, tmp_path / "state", policy="elastic", quotas=lab(tmp_path)) as pool:
        app = create_app(Settings(), Gateway(1), Control(pool, tmp_path))
        with TestClient(app) as client, pool.lease(lease_spec("basic"), PATIENCE_S):
            rows = client.get("/v1/quotas").json()
            assert [row["uses"] for row in rows] == [1, 0, 1]
            monkeypatch.setattr(cli_quotas, "call", lambda *_: rows)
            cli_quotas.quotas()
    assert "lab/bob" in shown.getvalue()
    monkeypatch.setattr(cli_quotas, "call", lambda *_: [])
    cli_quotas.quotas()
    assert "no quotas: give the service some" in shown.getvalue()


def test_quotas_need_the_policy_that_knows_them(root: Path, tmp_path: Path) -> None:
    for policy in ("tiered", None, Elastic()):
        with pytest.raises(Infeasible, match="knows no quotas, only 'elastic' does"):
            Pool(root, DEVICES, tmp_path / "state", policy=policy, quotas=lab(tmp_path))


def test_a_pool_with_other_quotas_does_not_take_over(root: Path, tmp_path: Path) -> None:
    """Devices that are lent would be recalled by other rules than the journal's."""
    state, quotas = tmp_path / "state", Quotas([Quota("ann", {"cpu": 1})])
    begin_and_kill(root, tmp_path, "after", "JobStarted", 1, "quotas")
    for other in (None, Quotas([Quota("ann", {"cpu": 2})]), Quotas(quotas.nodes, 60)):
        with pytest.raises(StateDiffers, match=r"quotas.*Start it with the same"):
            Pool(root, DEVICES, state, policy=Elastic(crash_pool.QUICK, other)).start()
    with Pool(root, DEVICES, state, policy=Elastic(crash_pool.QUICK, quotas)) as pool:
        assert pool.quotas() == (Account("ann", "cpu", 1, 1, 0, 0),)
        (tmp_path / "low.gate").touch()
        assert pool.wait(1, PATIENCE_S).state == JobState.SUCCEEDED
    check_journal(state, Elastic(crash_pool.QUICK, quotas))
