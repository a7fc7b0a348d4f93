"""``dlq ls``, ``dlq replay``, ``dlq rm`` and ``dlq resume``: what was given up, and its second chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from memrelay import exits
from memrelay.cli import completing
from memrelay.cli.options import DEFAULT_URL, AsJson, Url, client
from memrelay.cli.output import help_if_alone, say, show_json, show_rows
from memrelay.client.answers import Deleted, Replayed
from memrelay.client.requests import WhichDead

app = typer.Typer(help="Dead letters: memories that were given up.", rich_markup_mode=None)
app.callback(invoke_without_command=True)(help_if_alone)

Code = Annotated[str | None, typer.Option("--code", help="Only of this cause.")]
Driver = Annotated[
    str | None,
    typer.Option("--driver", help="Only of this driver.", autocompletion=completing.drivers),
]
OfSource = Annotated[
    str | None,
    typer.Option("--source", help="Only of this source.", autocompletion=completing.sources),
]
Ids = Annotated[
    list[str] | None, typer.Option("--id", metavar="ID", help="Only this memory; may be repeated.")
]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


@app.command("ls")
def list_dead_letters(
    *,
    code: Code = None,
    driver: Driver = None,
    source: OfSource = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on where a page ended.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Dead letters, the newest first, with their causes; on stderr what is held back by an alarm."""
    with client(url) as service:
        page = service.dead_letters(
            code=code, driver=driver, source=source, limit=limit, cursor=cursor
        )
    if as_json:
        show_json(page)
        return exits.OK
    for cause, number in page.causes.items():
        say(f"{number} {cause}")
    for stage, reason in page.alarms.items():
        say(f"alarm: {stage} refuses most of what it is given, which is held back: {reason}")
    rows = [
        (
            letter.id,
            letter.code,
            letter.stage,
            ",".join(letter.drivers),
            letter.attempts,
            letter.died_at.isoformat(timespec="seconds"),
            letter.detail,
        )
        for letter in page.dead_letters
    ]
    show_rows(("id", "cause", "stage", "drivers", "attempts", "given up", "detail"), rows)
    if page.cursor:
        say(f"more with: --cursor {page.cursor}")
    return exits.OK


@app.command("replay")
def replay_dead_letters(
    *,
    code: Code = None,
    driver: Driver = None,
    source: OfSource = None,
    ids: Ids = None,
    everything: All = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Put dead letters on their road again, under their own versions: what is newer is not overwritten."""
    which = _which(code, driver, source, ids, everything)
    with client(url) as service:
        answers = _all_of(lambda: service.replay_dead_letters(**which))
    whole = Replayed(
        replayed=sum(answer.replayed for answer in answers),
        jobs=tuple(job for answer in answers for job in answer.jobs),
        more=False,
    )
    if as_json:
        show_json(whole)
    else:
        typer.echo(f"{whole.replayed} on their road again")
        for job in whole.jobs:
            say(f"memrelay jobs wait {job.id}")
    return exits.OK


@app.command("rm")
def remove_dead_letters(
    *,
    code: Code = None,
    driver: Driver = None,
    source: OfSource = None,
    ids: Ids = None,
    everything: All = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Give dead letters up for good."""
    which = _which(code, driver, source, ids, everything)
    with client(url) as service:
        answers = _all_of(lambda: service.delete_dead_letters(**which))
    total = sum(answer.deleted for answer in answers)
    if as_json:
        show_json({"deleted": total})
    else:
        typer.echo(f"{total} deleted")
    return exits.OK


@app.command("resume")
def resume(
    stage: Annotated[
        str | None, typer.Argument(metavar="[STAGE]", help="As dlq ls names it; else all.")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """End an alarm: what is refused becomes dead letters again, up to the limit."""
    with client(url) as service:
        answer = service.resume(stage)
    if as_json:
        show_json(answer)
    else:
        typer.echo(", ".join(answer.resumed) or "there was no alarm")
    return exits.OK


def _all_of[A: (Replayed, Deleted)](ask: Callable[[], A]) -> list[A]:
    """The answers to the same request until there is no more: one request takes so many at most."""
    answers = [ask()]
    while answers[-1].more:
        answers.append(ask())
    return answers


def _which(
    code: str | None,
    driver: str | None,
    source: str | None,
    ids: list[str] | None,
    everything: bool,
) -> WhichDead:
    """Something has to be said: nobody replays or removes all by leaving it out."""
    which = WhichDead()
    if code is not None:
        which["code"] = code
    if driver is not None:
        which["driver"] = driver
    if source is not None:
        which["source"] = source
    if ids:
        which["ids"] = ids
    if everything:
        which["all"] = True
    if not which:
        raise typer.BadParameter("name --code, --driver, --source or --id, or say --all")
    return which
