"""``jobs ls``, ``jobs show``, ``jobs wait`` and ``jobs cancel``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import typer

from memrelay import exits
from memrelay.cli import completing
from memrelay.cli.options import DEFAULT_URL, AsJson, Url, client
from memrelay.cli.output import help_if_alone, plain, say, show_json, show_rows
from memrelay.client import Job, WhichJobs
from memrelay.jobs import JobStatus

app = typer.Typer(help="What became of writes.", rich_markup_mode=None)
app.callback(invoke_without_command=True)(help_if_alone)
Id = Annotated[str, typer.Argument(metavar="JOB", autocompletion=completing.jobs)]
Before = Annotated[str | None, typer.Option(metavar="TIME", help="Accepted before that, RFC 3339.")]
After = Annotated[str | None, typer.Option(metavar="TIME", help="Accepted then or later.")]
CANCELABLE: tuple[Literal["accepted", "processing"], ...] = ("accepted", "processing")


def verdict(job: Job) -> int:
    """The exit status that a job stands for: 4 while it has not ended."""
    by_status: dict[JobStatus, int] = {
        "stored": exits.OK,
        "partial": exits.PARTIAL,
        "failed": exits.FAILED,
        "canceled": exits.FAILED,
    }
    if not job.ended and job.settled and not job.primary.failed:
        return exits.OK
    return by_status.get(job.status, exits.UNAVAILABLE)


@app.command("ls")
def list_jobs(
    *,
    status: Annotated[str | None, typer.Option(help=", ".join(get_args(JobStatus)))] = None,
    before: Before = None,
    after: After = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on where a page ended.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Jobs, newest first."""
    wanted = _one_of(status, get_args(JobStatus))
    with client(url) as service:
        page = service.jobs(status=wanted, before=before, after=after, limit=limit, cursor=cursor)
    if as_json:
        show_json(page)
        return exits.OK
    rows = [
        (
            job.id,
            job.status,
            job.total,
            job.primary.stored,
            job.primary.failed,
            _at(job.accepted_at),
        )
        for job in page.jobs
    ]
    show_rows(("job", "status", "memories", "stored", "failed", "accepted"), rows)
    if page.cursor:
        say(f"more with: --cursor {page.cursor}")
    return exits.OK


@app.command("show")
def show_job(
    id: Id,
    follow: Annotated[bool, typer.Option("--follow", help="And again until it ends.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """One job as it is now; with --follow whenever it has changed, and the status as of jobs wait."""
    with client(url) as service:
        if not follow:
            _show(service.job(id), as_json)
            return exits.OK
        status = exits.UNAVAILABLE
        for job in service.follow_job(id):
            _show(job, as_json)
            status = verdict(job) if job.ended else exits.UNAVAILABLE
    return status


@app.command("wait")
def wait_job(
    id: Id,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds.")] = 60.0,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Return when a job has ended: status 0 all stored, 3 some, 1 none, 4 not ended in time."""
    with client(url) as service:
        job = service.wait_job(id, timeout=timeout)
    _show(job, as_json)
    if not job.ended:
        say(f"memrelay: {job.id} has not ended after {timeout:g} s")
        return exits.UNAVAILABLE
    return verdict(job)


@app.command("cancel")
def cancel_jobs(
    *,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[JOB...]", show_default=False)] = None,
    status: Annotated[str | None, typer.Option(help="accepted or processing.")] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    before: Before = None,
    after: After = None,
    everything: Annotated[bool, typer.Option("--all", help="All that waits.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """End what no worker has begun with: it is not stored. Deletes go on, and what is under way."""
    wanted = _one_of(status, CANCELABLE)
    given: dict[str, Any] = {
        "ids": ids or None,
        "status": wanted,
        "source": source,
        "before": before,
        "after": after,
        "all": everything or None,
    }
    which = WhichJobs(**{key: value for key, value in given.items() if value is not None})  # type: ignore[typeddict-item]
    if not which or (everything and len(which) > 1):
        raise typer.BadParameter("give jobs or options that say which, or --all alone")
    jobs = memories = 0
    with client(url) as service:
        more = True
        while more:
            told = service.cancel_jobs(**which)
            jobs, memories, more = jobs + told.jobs, memories + told.canceled, told.more
    if as_json:
        show_json({"jobs": jobs, "canceled": memories})
    else:
        nothing = "; no such job has a memory that no worker has begun with" if not jobs else ""
        typer.echo(f"{memories} memories of {jobs} jobs are canceled{nothing}")
    return exits.OK


def _one_of[T: str](given: str | None, known: Sequence[T]) -> T | None:
    """The status that an option names; a usage error for one that there is not."""
    if given is None:
        return None
    for status in known:
        if status == given:
            return status
    raise typer.BadParameter(f"one of: {', '.join(known)}", param_hint="--status")


def _show(job: Job, as_json: bool) -> None:
    if as_json:
        show_json(job)
        return
    typer.echo(f"{job.id}: {job.status}, {job.total} memories in source {job.source}")
    for driver, counts in job.counts.items():
        canceled = f", {counts.canceled} canceled" if counts.canceled else ""
        ended = f"{counts.stored} stored, {counts.failed} failed{canceled}"
        typer.echo(f"{driver}: {ended} of {counts.total}")
    for failure in job.errors:
        where = f"{failure.id} in {failure.driver}"
        typer.echo(plain(f"failed: {where}: {failure.code}: {failure.detail}"))


def _at(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="seconds")
