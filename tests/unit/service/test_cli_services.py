"""What is said of replicas on the command line, and what is shown of them."""

from __future__ import annotations

import json
import re
from email.message import Message
from io import BytesIO
from typing import Any
from urllib.error import HTTPError

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from scheduler.errors import Infeasible
from scheduler.policies.served import Objective
from service import cli_services
from service.cli import app
from service.cli_services import scaling
from service.durations import seconds
from service.scaling import Scaling

ROW: dict[str, Any] = {
    **{"model": "step", "arrived": 120, "answered": 118, "late": 1, "pending": 2, "serving": 2},
    **{"least": 1, "most": 4, "wanted": 4, "starting": 1, "waiting": 1, "jobs": [1, 5, 6, 7]},
    **{"objective_s": 0.2, "share_wanted": 0.99, "share": 0.9915, "recall_s": 5.0, "recalls": 3},
    **{"recalls_missed": 1, "recall_median_s": 0.25, "recall_p99_s": 6.5, "lent": 3},
    "trouble": "replica 4, job 7: its device was lost",
}


def test_words_become_a_scaling() -> None:
    assert scaling(None, "nonsense", 0.99, "x") is None
    found = scaling("1:4", "200ms", 0.995, "5s")
    assert found == Scaling(1, 4, Objective(0.2, 0.995), 5.0)


@pytest.mark.parametrize("words", ["4", "1:", "one:4", "1:4:5", "-1:4"])
def test_replicas_that_are_none_are_refused(words: str) -> None:
    with pytest.raises(typer.BadParameter, match="LEAST:MOST"):
        scaling(words, "200ms", 0.99, "5s")


@pytest.mark.parametrize("words", ["0:2", "3:2"])
def test_numbers_that_cannot_be_are_refused(words: str) -> None:
    with pytest.raises(Infeasible, match="at least one replica"):
        scaling(words, "200ms", 0.99, "5s")


def test_a_time_beyond_what_is_forecast_is_refused() -> None:
    """Each step of a forecast looks at every step ahead."""
    with pytest.raises(Infeasible, match="within 7200 s: above 0 s, and at most 3600 s"):
        scaling("1:2", "200ms", 0.99, "2h")
    with pytest.raises(Infeasible, match="a time above 0"):
        Objective(float("inf"))


def test_times_have_units() -> None:
    assert [seconds(text) for text in ("200ms", "5s", "1.5m", "2h")] == [0.2, 5, 90, 7200]
    for text in ("5", "s", "5 s", "1.2.3s", "5min", "9" * 400 + "d"):
        with pytest.raises(typer.BadParameter, match="no time with a unit"):
            seconds(text)


def test_services_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed = {"model": "other", "arrived": 0, "answered": 0, "late": 0, "pending": 0, "serving": 1}
    rows = json.loads(json.dumps([ROW, fixed]))
    monkeypatch.setattr(cli_services, "call", lambda url, method, path: rows)
    monkeypatch.setattr(cli_services, "console", Console(width=250))
    shown = CliRunner().invoke(app, ["services"]).output
    step, other = re.findall("│ (step .*|other .*)", shown)
    cells = [cell.strip() for cell in step.split("│")]
    assert cells == [
        *("step", "2 serve, 1 starting, 1 waiting for a device, of 1 to 4", "1 5 6 7"),
        *(
            "120, 2 wait or run",
            "99.15 %, wanted 99 % in 0.2 s",
            "3",
            "3, 1 took over 5 s",
            "0.25; 6.50",
            "",
        ),
    ]
    assert "1, fixed" in other and ROW["trouble"] in shown
    only = CliRunner().invoke(app, ["services", "other"]).output
    assert "step" not in only and "other" in only
    none = CliRunner(env={"COLUMNS": "250"}).invoke(app, ["services", "nosuch"])
    assert none.exit_code == 2 and "served are step, other" in none.output


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": "cpu:0 is out", "code": "cannot_drain"}', "409 cannot_drain: cpu:0 is out"),
        (b"<html>no</html>", "409 <html>no</html>"),
        (b'["no"]', '409 ["no"]'),
    ],
)
def test_an_error_of_the_service_is_said_in_words(
    body: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise HTTPError("http://x", 409, "Conflict", Message(), BytesIO(body))

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    done = CliRunner().invoke(app, ["services"])
    assert (done.exit_code, done.output.strip()) == (1, said)
