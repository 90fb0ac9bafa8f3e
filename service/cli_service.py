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
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url + path, data, method=method), timeout=30) as answer:
            return json.load(answer)
    except HTTPError as error:
        text = error.read().decode(errors="replace")
        console.print(f"[red]{error.code}[/red] {escape(text)}")
    except URLError as error:
        console.print(f"[red]no service at {url}[/red]: {error.reason}; start one: haltere serve")
    raise typer.Exit(1)


def answers(url: str) -> bool:
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(url + "/v1/jobs", timeout=2):
            return True
    except (URLError, TimeoutError):
        return False
