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
MAX_DIGITS = 15  # of an amount of memory


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
        console.print(f"[red]{error.code}[/red] {escape(_told(error.read()))}", soft_wrap=True)
    except (OSError, HTTPException) as error:
        why = escape(str(getattr(error, "reason", "") or error))
        console.print(f"[red]no service at {escape(url)}[/red]: {why}; start one: haltere serve")
    except ValueError as error:  # of the URL, or what answers there speaks no JSON
        console.print(f"[red]{escape(url)} is no service of haltere[/red]: {escape(str(error))}")
    raise typer.Exit(1)


def _told(body: bytes) -> str:
    """`code: message` of an error of ours; of somebody else's, what it said."""
    text = body.decode(errors="replace")
    try:
        told = json.loads(text)
        return f"{told['code']}: {told['error']}"
    except (ValueError, KeyError, TypeError):
        return text


def answers(url: str) -> bool:
    """Whether a service of haltere is there: on its port may be somebody else's."""
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(url + "/v1/jobs", timeout=2) as answer:
            return isinstance(json.load(answer), list)
    except (OSError, HTTPException, ValueError):
        return False


def milli(text: str) -> int:
    """`250m` and `0.25` are 250."""
    try:
        found = int(text[:-1]) if text.endswith("m") else round(float(text) * 1000)
    except (ValueError, OverflowError):
        found = -1
    if found < 0:
        raise typer.BadParameter(f"{text!r} is neither thousandths, as 250m, nor a number, as 0.25")
    return found


def mib(text: str) -> int:
    """`512MiB` is 512, `2GiB` 2048."""
    for unit, of in (("MiB", 1), ("GiB", 1024)):
        number = text.removesuffix(unit)
        if number != text and number.isdecimal() and len(number) <= MAX_DIGITS:
            return int(number) * of
    raise typer.BadParameter(f"{text!r} is no memory with a unit, as 512MiB or 2GiB")
