"""`haltere replay`, and what a journal says of what decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from scheduler.core.events import JobSubmitted
from scheduler.core.transitions import Params
from scheduler.core.values import JobSpec
from scheduler.decider import describe, differences, remake
from scheduler.errors import JournalDamaged, JournalDiverged
from scheduler.journal import Journal, read
from scheduler.policies.elastic import Elastic
from scheduler.policies.named import POLICIES, policy
from scheduler.policies.quotas import Quota, Quotas
from scheduler.policies.round import ElasticParams
from scheduler.policies.tiered import Tiered
from service.cli import app


def haltere(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def trace(folder: Path) -> str:
    path = folder / "trace.csv"
    rows = "".join(f"j{n},{60 * n},{100 * (n % 7 + 1)},{n % 4 + 1}\n" for n in range(40))
    path.write_text("job_id,submission_time,duration,num_gpu\n" + rows)
    return str(path)


def journal(folder: Path, *words: str) -> Path:
    path = folder / "run.jsonl"
    told = haltere(
        *("simulate", "--trace", trace(folder), "--cluster", "2x4xV100", "--journal", str(path)),
        *words,
    )
    assert told.exit_code == 0, told.output
    return path


@pytest.mark.parametrize("name", sorted(POLICIES.keys() - {"sharing"}))  # its jobs have needs
def test_a_simulation_is_decided_again_by_its_journal_alone(name: str, tmp_path: Path) -> None:
    path = journal(tmp_path, "--policy", name, "--faults", "node:mtbf=1h,mttr=5m")
    told = haltere("replay", str(path), "--job", "3")
    assert told.exit_code == 0 and "decided again with the same commands" in told.output
    assert "job 3 (j2, basic) is succeeded" in told.output


def test_settings_are_in_the_journal(tmp_path: Path) -> None:
    quotas = tmp_path / "quotas.toml"
    quotas.write_text('[[quota]]\nname = "trace"\ngpu = 4\n')
    path = journal(tmp_path, "--saves", "--quotas", str(quotas), "--elastic", "0")
    about = read(path).header["about"]
    assert about["settings"]["quotas"]["nodes"] == [{"name": "trace", "slices": {"gpu": 4}}]
    assert haltere("replay", str(path)).exit_code == 0
    assert isinstance(
        haltere("replay", str(path), "--policy", "elastic").exception, JournalDiverged
    )


@pytest.mark.parametrize("name", sorted(POLICIES.keys() - {"sharing"}))  # its jobs have needs
def test_what_decides_is_told_without_what_it_has_learnt(name: str) -> None:
    about = json.loads(json.dumps(describe(policy(name), Params())))
    again, params = remake(about)
    assert type(again) is type(policy(name)) and params == Params()
    assert not list(differences(about, describe(again, params)))


def test_what_decides_is_made_again_with_its_settings() -> None:
    quotas = Quotas([Quota("lab", {"gpu": 8}), Quota("lab/ann", {"gpu": 3})], half_life_s=60)
    given = Elastic(ElasticParams(saves=True, gather="greedy", save_cost_s=1.5), quotas)
    about = json.loads(json.dumps(describe(given, Params(max_restarts=9))))
    again, params = remake(about)
    assert isinstance(again, Elastic) and again.params == given.params
    assert again.quotas is not None and again.quotas.nodes == quotas.nodes
    assert (again.quotas.half_life_s, params.max_restarts) == (60, 9)
    assert list(differences(describe(Tiered(5), Params()), describe(Tiered(7), Params()))) == [
        "settings min_run_us was 5 and is 7"
    ]


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("Tiered {}", "it says only 'Tiered {}'"),
        ({}, "'policy'"),
        ({"policy": "guess", "settings": {}, "params": {}}, "'guess' is none of elastic"),
        ({"policy": "tiered", "settings": {"luck": 1}, "params": {}}, "Tiered has no luck"),
        ({"policy": "tiered", "settings": {}, "params": {"luck": 1}}, "Params has no luck"),
        ({"policy": "tiered", "settings": [1], "params": {}}, "'list' object"),
        ({"policy": "os:abort", "settings": {}, "params": {}}, "'os:abort' is none of"),
    ],
)
def test_what_cannot_be_made_again_is_told(about: Any, said: str, tmp_path: Path) -> None:
    Journal(tmp_path / "j", durable=False, about=about).close()
    told = haltere("replay", str(tmp_path / "j")).exception
    assert isinstance(told, JournalDiverged) and said in str(told)


def test_a_torn_journal_is_told_up_to_there(tmp_path: Path) -> None:
    path = journal(tmp_path)
    data, whole = path.read_bytes(), len(read(path).steps)
    path.write_bytes(data[:-9])
    told = haltere("replay", str(path))
    assert told.exit_code == 0 and "as after a crash: they are left out" in told.output
    assert f"{whole - 1} steps, decided again" in told.output


@pytest.mark.parametrize("length", [0, 5, 60])
def test_a_journal_without_its_header_is_refused(tmp_path: Path, length: int) -> None:
    path = journal(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    told = haltere("replay", str(path)).exception
    assert isinstance(told, JournalDamaged) and "does not begin with the header" in str(told)


def test_events_that_the_machine_refuses_are_told_with_their_step(tmp_path: Path) -> None:
    found = Journal(tmp_path / "j", durable=False, about=describe(Tiered(), Params()))
    spec = JobSpec("j", "ann", "basic", "g", argv=("x",))
    found.record([JobSubmitted(1, 2, spec), JobSubmitted(1, 1, spec)], ())
    found.close()
    told = haltere("replay", str(tmp_path / "j")).exception
    assert isinstance(told, JournalDiverged) and "step 1 at 1us" in str(told)
    assert "invalid_event: job 1" in str(told)


def test_other_commands_are_told_in_words(tmp_path: Path) -> None:
    told = haltere("replay", str(journal(tmp_path)), "--policy", "las").exception
    assert isinstance(told, JournalDiverged)
    assert "step 1 at 0us gave other commands" in str(told)
    assert "'nothing more' instead of 'wake at 60.0 s'" in str(told)
    assert len(str(told)) < 600


def test_what_there_is_not_in_a_journal_is_refused(tmp_path: Path) -> None:
    path = str(journal(tmp_path))
    assert "job 99 was not submitted by then" in haltere("replay", path, "--job", "99").output
    assert (
        "job 9 was not submitted by then"
        in haltere("replay", path, "--job", "9", "--at", "1m").output
    )
    assert "is no time with a unit" in haltere("replay", path, "--at", "soon").output


def test_a_journal_is_there_once_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scheduler.loop.Loop.step", interrupted)
    words = ("--trace", trace(tmp_path), "--journal", str(tmp_path / "run.jsonl"))
    assert haltere("simulate", *words).exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["trace.csv"]


@pytest.mark.parametrize(
    "words",
    [("--policy", "sharing"), ("--policy", "las", "--policy", "fifo"), ("--engine", "native")],
)
def test_a_journal_is_of_one_policy_in_python(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = str(tmp_path / "run.jsonl")
    told = haltere("simulate", "--trace", trace(tmp_path), "--journal", path, *words)
    assert told.exit_code == 2 and "--journal: of one policy" in told.output
