"""The options that several commands have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from memrelay.cli import completing
from memrelay.client import DEFAULT_URL, Memrelay

PATIENCE = 3.0

Url = Annotated[
    str,
    typer.Option("--url", envvar="MEMRELAY_URL", help="The service.", metavar="URL"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Source = Annotated[
    str,
    typer.Option("--source", help="A named source of memories.", autocompletion=completing.sources),
]
User = Annotated[str | None, typer.Option("--user", help="Of this user.")]
Session = Annotated[str | None, typer.Option("--session", help="Of this session.")]
Filter = Annotated[
    str | None,
    typer.Option("--filter", help='As JSON, such as \'{"tags": "food"}\'.', metavar="JSON"),
]
__all__ = [
    "DEFAULT_URL",
    "AsJson",
    "Filter",
    "Session",
    "Source",
    "Url",
    "User",
    "client",
    "json_object",
]


def client(url: str) -> Memrelay:
    """For a person who waits: soon told when nobody answers."""
    return Memrelay(url, patience=PATIENCE)


def json_object(text: str | None, option: str) -> Mapping[str, Any] | None:
    """The value of a JSON option; a usage error unless it is an object."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=option) from None
    if not isinstance(value, dict):
        raise typer.BadParameter('not a JSON object, such as {"a": 1}', param_hint=option)
    return value
