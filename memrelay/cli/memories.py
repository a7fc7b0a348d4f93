"""``add``, ``search``, ``get``, ``rm`` and ``count``."""

from __future__ import annotations

import json
import math
import sys
from typing import Annotated, Any, Literal

import typer

from memrelay import exits
from memrelay.cli.jobs import verdict
from memrelay.cli.options import (
    DEFAULT_URL,
    AsJson,
    Filter,
    Session,
    Source,
    Url,
    User,
    client,
    json_object,
)
from memrelay.cli.output import plain, show_json, show_rows
from memrelay.client import Accepted, NewMemory, Recency, StoredMemory

WAIT = 30.0
DAY = 86_400

Wait = Annotated[
    bool, typer.Option("--wait", help=f"Return once it is stored, or after {WAIT:g} s.")
]
MaybeIds = Annotated[list[str] | None, typer.Argument(metavar="[ID...]", show_default=False)]


def add(
    text: Annotated[str, typer.Argument(help="What is remembered; - reads it from stdin.")],
    *,
    id: Annotated[str | None, typer.Option("--id", help="An existing one is replaced.")] = None,
    user: User = None,
    session: Session = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="May be repeated.")
    ] = None,
    metadata: Annotated[str | None, typer.Option("--metadata", metavar="JSON")] = None,
    source: Source = "default",
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Take in one memory; returns when it cannot get lost any more."""
    given: dict[str, Any] = {
        "text": sys.stdin.read() if text == "-" else text,
        "id": id,
        "user_id": user,
        "session_id": session,
        "tags": tag,
        "metadata": json_object(metadata, "--metadata"),
    }
    memory: NewMemory = {"text": ""}
    memory.update({key: value for key, value in given.items() if value})  # type: ignore[typeddict-item]
    with client(url) as service:
        accepted = service.add(memory, source=source, wait=WAIT if wait else 0.0)
    return show_accepted(accepted, wait, as_json)


def search(
    query: Annotated[str, typer.Argument(help="A question, or words.")],
    *,
    user: User = None,
    session: Session = None,
    filter: Filter = None,
    source: Source = "default",
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=200)] = 10,
    mode: Annotated[Literal["semantic", "keyword", "hybrid"] | None, typer.Option("--mode")] = None,
    recency: Annotated[
        float | None,
        typer.Option(
            "--recency",
            metavar="DAYS",
            help="Newer ones first among those alike: age counts half after so many days.",
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """The best memories for a query."""
    with client(url) as service:
        answer = service.search(
            query,
            user_id=user,
            session_id=session,
            filter=json_object(filter, "--filter"),
            source=source,
            top_k=top_k,
            mode=mode,
            recency=None if recency is None else _recency(recency),
        )
    if as_json:
        show_json(answer)
    else:
        rows = [(f"{hit.score:.3f}", hit.id, hit.user_id, hit.text) for hit in answer.hits]
        show_rows(("score", "id", "user", "text"), rows)
    return exits.OK


def get(
    id: Annotated[str, typer.Argument(metavar="ID")],
    source: Source = "default",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """One memory as it is stored."""
    with client(url) as service:
        memory = service.get(id, source=source)
    if as_json:
        show_json(memory)
    else:
        _show_memory(memory)
    return exits.OK


def rm(
    *,
    ids: MaybeIds = None,
    user: User = None,
    session: Session = None,
    filter: Filter = None,
    source: Source = "default",
    wait: Wait = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Delete memories by id, whether or not they are there; or all of a user, a session or a filter."""
    selected = any(value is not None for value in (user, session, filter))
    if bool(ids) == selected:
        raise typer.BadParameter("give ids, or --user, --session, --filter")
    seconds = WAIT if wait else 0.0
    with client(url) as service:
        if ids:
            accepted = service.delete_many(ids, source=source, wait=seconds)
        else:
            accepted = service.delete_where(
                user_id=user,
                session_id=session,
                filter=json_object(filter, "--filter"),
                source=source,
                wait=seconds,
            )
    if not ids and not as_json:
        typer.echo(f"{accepted.job.status}\t{accepted.job.id}")
        return verdict(accepted.job) if wait else exits.OK
    return show_accepted(accepted, wait, as_json)


def count(
    *,
    user: User = None,
    session: Session = None,
    filter: Filter = None,
    source: Source = "default",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """How many memories there are."""
    with client(url) as service:
        answer = service.count(
            user_id=user,
            session_id=session,
            filter=json_object(filter, "--filter"),
            source=source,
        )
    if as_json:
        show_json(answer)
    else:
        typer.echo(str(answer.count))
    return exits.OK


def show_accepted(accepted: Accepted, wait: bool, as_json: bool) -> int:
    if as_json:
        show_json(accepted)
    else:
        rows = [(m.id, accepted.job.status, accepted.job.id) for m in accepted.memories]
        show_rows(("id", "status", "job"), rows)
    return verdict(accepted.job) if wait else exits.OK


def _recency(days: float) -> Recency:
    if not 0 < days < math.inf:
        raise typer.BadParameter("a number of days above 0", param_hint="--recency")
    return {"half_life": days * DAY}


def _show_memory(memory: StoredMemory) -> None:
    for name, value in memory.model_dump(mode="json").items():
        if value not in (None, [], {}):
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            typer.echo(f"{name}: {plain(shown)}")
