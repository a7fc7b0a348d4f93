"""``jobs ls``, ``jobs show`` and ``jobs wait``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, get_args

import typer

from memrelay import exits
from memrelay.cli import completing
from memrelay.cli.options import DEFAULT_URL, AsJson, Url, client
from memrelay.cli.output import help_if_alone, plain, say, show_json, show_rows
from memrelay.client import Job
from memrelay.jobs import JobStatus

app = typer.Typer(help="What became of writes.", rich_markup_mode=None)
app.callback(invoke_without_command=True)(help_if_alone)
Id = Annotated[str, typer.Argument(metavar="JOB", autocompletion=completing.jobs)]


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
    status: Annotated[str | None, typer.Option(help=", ".join(get_args(JobStatus)))] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Go on where a page ended.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Jobs, newest first."""
    wanted = next((known for known in get_args(JobStatus) if known == status), None)
    if status is not None and wanted is None:
        known = ", ".join(get_args(JobStatus))
        raise typer.BadParameter(f"one of: {known}", param_hint="--status")
    with client(url) as service:
        page = service.jobs(status=wanted, limit=limit, cursor=cursor)
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
def show_job(id: Id, as_json: AsJson = False, url: Url = DEFAULT_URL) -> int:
    """One job as it is now."""
    with client(url) as service:
        job = service.job(id)
    _show(job, as_json)
    return exits.OK


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


def _show(job: Job, as_json: bool) -> None:
    if as_json:
        show_json(job)
        return
    typer.echo(f"{job.id}: {job.status}, {job.total} memories in source {job.source}")
    for driver, counts in job.counts.items():
        typer.echo(f"{driver}: {counts.stored} stored, {counts.failed} failed of {counts.total}")
    for failure in job.errors:
        where = f"{failure.id} in {failure.driver}"
        typer.echo(plain(f"failed: {where}: {failure.code}: {failure.detail}"))


def _at(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="seconds")
