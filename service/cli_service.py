"""How commands speak to a running service."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

console = Console()

Url = Annotated[str, typer.Option(help="The service to talk to.", envvar="HALTERE_URL")]
DEFAULT_URL = "http://127.0.0.1:8000"


def call(url: str, method: str, path: str, body: object = None) -> Any:
    """One request to the service; its error, or that nobody answers, ends the command."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url + path, data, method=method), timeout=30) as answer:
            return json.load(answer)
    except HTTPError as error:
        text = error.read().decode(errors="replace")
        console.print(f"[red]{error.code}[/red] {escape(text)}")
    except (OSError, HTTPException) as error:
        why = escape(str(getattr(error, "reason", "") or error))
        console.print(f"[red]no service at {escape(url)}[/red]: {why}; start one: haltere serve")
    except ValueError as error:  # of the URL, or what answers there speaks no JSON
        console.print(f"[red]{escape(url)} is no service of haltere[/red]: {escape(str(error))}")
    raise typer.Exit(1)


def answers(url: str) -> bool:
    """Whether a service of haltere is there: on its port may be somebody else's."""
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(url + "/v1/jobs", timeout=2) as answer:
            return isinstance(json.load(answer), list)
    except (OSError, HTTPException, ValueError):
        return False
