"""``edit``: changes to a memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from memrelay.cli.memories import WAIT, Wait, show_accepted
from memrelay.cli.options import DEFAULT_URL, AsJson, Source, Url, client, json_object
from memrelay.client import Changes

FIELDS: Mapping[str, str] = {
    "user": "user_id",
    "session": "session_id",
    "tags": "tags",
    "metadata": "metadata",
    "expires": "expires_at",
}


def edit(
    id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    text: Annotated[str | None, typer.Option("--text", help="- reads it from stdin.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Give it to this user.")] = None,
    session: Annotated[str | None, typer.Option("--session")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="In place of all; may be repeated."),
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option("--metadata", metavar="JSON", help="Merged; a null takes a field away."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="RFC 3339.")
    ] = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="FIELD", help=", ".join(FIELDS))
    ] = None,
    if_version: Annotated[
        int | None, typer.Option("--if-version", help="Only if that is its last version.")
    ] = None,
    source: Source = "default",
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Change what is given of a memory, stored or not yet; the rest stays."""
    given: dict[str, Any] = {
        "text": sys.stdin.read() if text == "-" else text,
        "user_id": user,
        "session_id": session,
        "tags": tag or None,
        "metadata": json_object(metadata, "--metadata"),
        "expires_at": expires,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    changes |= dict.fromkeys(_unset(unset or [], changes))
    if not changes:
        raise typer.BadParameter("give what is to change: --text, --tag, --metadata, ...")
    with client(url) as service:
        accepted = service.edit(
            id,
            Changes(**changes),  # type: ignore[typeddict-item]
            source=source,
            if_version=if_version,
            wait=WAIT if wait else 0.0,
        )
    return show_accepted(accepted, wait, as_json)


def _unset(names: list[str], changes: Mapping[str, Any]) -> list[str]:
    for name in names:
        if name not in FIELDS:
            raise typer.BadParameter(f"one of: {', '.join(FIELDS)}", param_hint="--unset")
        if FIELDS[name] in changes:
            raise typer.BadParameter(f"{name} is given a value as well", param_hint="--unset")
    return [FIELDS[name] for name in names]
