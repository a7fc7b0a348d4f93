"""``import FILE``: NDJSON in, with progress; interrupted, it goes on where it was with ``--resume``."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from memrelay import exits
from memrelay.cli.options import DEFAULT_URL, AsJson, Source, Url
from memrelay.cli.output import say, show_json
from memrelay.cli.progress import Display, State, display
from memrelay.cli.resume import Bookmark, Mark
from memrelay.cli.stdin import lines_of
from memrelay.client import AsyncMemrelay, Imported, Job, key_of_file
from memrelay.errors import MemrelayError, NotFound

DEFAULT = "default"
PATIENCE = 60.0
POLL_SECONDS = 0.5
SHOWN_REFUSALS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to import, where to, and from which line on. ``file`` is None for stdin."""

    file: Path | None
    url: str
    source: str
    key: str
    from_line: int
    bookmark: Bookmark
    earlier_refused: int
    job: str | None
    """Of what was accepted before this run."""

    @property
    def earlier_accepted(self) -> int:
        """Before this run; blank lines count, for nobody has told them apart."""
        return self.from_line - 1 - self.earlier_refused

    @property
    def size(self) -> int:
        """In bytes; 0: unknown."""
        return self.file.stat().st_size if self.file else 0

    @property
    def command(self) -> str:
        """That goes on with it."""
        words = ["memrelay", "import", str(self.file or "-"), "--resume"]
        if self.file is None:
            words += ["--key", self.key]
        if self.source != DEFAULT:
            words += ["--source", self.source]
        if self.url != os.environ.get("MEMRELAY_URL", DEFAULT_URL):
            words += ["--url", self.url]
        return shlex.join(words)


@dataclass(slots=True)
class Result:
    """``job`` is None where its record could not be had."""

    imported: Imported
    job: Job | None


def import_file(
    file: Annotated[
        Path,
        typer.Argument(help="One JSON object a line, gzip or not; - reads stdin."),
    ],
    *,
    source: Source = DEFAULT,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an import of this file was interrupted.")
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(
            help="Of stdin, which can be resumed by it: what comes under a key again is stored once.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Return once stored, or once accepted.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Take in a file of memories. Importing the same file twice stores nothing twice."""
    order = _order(_file_of(file, key, resume), url, source, key, resume)
    began = time.monotonic()
    try:
        result = asyncio.run(_run(order, wait=wait, quiet=quiet))
    except KeyboardInterrupt:
        return _interrupted(order)
    except MemrelayError:
        _interrupted(order)
        raise
    order.bookmark.remove()
    return _report(order, result, as_json, time.monotonic() - began)


def _file_of(file: Path, key: str | None, resume: bool) -> Path | None:
    """None for stdin; a usage error unless the options go with it."""
    if str(file) != "-":
        if not file.is_file():
            reason = "is not a regular file" if file.exists() else "does not exist"
            raise typer.BadParameter(f"{file} {reason}; - reads stdin", param_hint="FILE")
        if key is not None:
            raise typer.BadParameter("a file's follows from its content", param_hint="--key")
        return file
    if resume and key is None:
        raise typer.BadParameter("stdin is known by a --key alone", param_hint="--resume")
    return None


def _order(file: Path | None, url: str, source: str, key: str | None, resume: bool) -> Order:
    key = key_of_file(file) if file else key or str(uuid4())
    bookmark = Bookmark.of(file, url, source, key)
    mark = bookmark.read() if resume else None
    if mark is not None and mark.key != key:
        raise typer.BadParameter(
            "the file has changed since; without --resume it is imported anew, and lines that have no "
            "id and were stored are stored again",
            param_hint="--resume",
        )
    if resume:
        say(
            f"going on after line {mark.line}" if mark else "nothing to resume: from the first line"
        )
    return Order(
        file=file,
        url=url,
        source=source,
        key=key,
        from_line=mark.line + 1 if mark else 1,
        bookmark=bookmark,
        earlier_refused=mark.refused if mark else 0,
        job=mark.job if mark else None,
    )


async def _run(order: Order, *, wait: bool, quiet: bool) -> Result:
    state = State(order.size, earlier=order.earlier_accepted)
    ended = threading.Event()
    lines = order.file or lines_of(sys.stdin.fileno(), ended)
    async with AsyncMemrelay(order.url, patience=PATIENCE) as client:
        await client.ready()
        with display(wanted=not quiet) as shown:
            async with _following(client, state, shown, order.job) as following:
                try:
                    imported = await client.import_ndjson(
                        lines,
                        source=order.source,
                        idempotency_key=order.key,
                        from_line=order.from_line,
                        progress=following.told_by(order),
                    )
                finally:
                    ended.set()
            job = await following.until_settled() if wait else None
    return Result(imported, job)


class Following:
    """Keeps the state shown up to date with what the service says about the import's job."""

    def __init__(
        self, client: AsyncMemrelay, state: State, shown: Display, job: str | None
    ) -> None:
        self._client = client
        self._state = state
        self._shown = shown
        self._job = job

    def told_by(self, order: Order) -> Any:
        """What ``import_ndjson`` calls after each accepted part: the bookmark first, then the display."""

        def told(done: Imported) -> None:
            if done.line >= order.from_line:
                refused = order.earlier_refused + done.refused
                order.bookmark.write(Mark(order.key, done.line, refused, done.job))
            self._job = done.job or self._job
            self._state.read, self._state.read_bytes = done.line, done.read
            self._state.accepted = order.earlier_accepted + done.accepted
            self._state.refused = order.earlier_refused + done.refused
            self._shown.show(self._state)

        return told

    async def for_ever(self) -> None:
        while True:
            await self._ask()

    async def until_settled(self) -> Job | None:
        """The job once its primary driver has an outcome for every memory; None if there is none."""
        while self._job is not None:
            job = await self._ask()
            if job is None or job.settled:
                return job
        return None

    async def _ask(self) -> Job | None:
        """Asks slowly where answering is slow: a large import's job is read from thousands of parts."""
        began = time.monotonic()
        job = None
        if self._job is not None:
            try:
                job = await self._client.job(self._job)
            except NotFound:
                return None
            counts = job.primary
            failed = counts.failed + counts.canceled
            waiting = counts.total - counts.stored - failed
            self._state.failed = failed
            self._state.stored = max(0, self._state.accepted - waiting - failed)
            self._shown.show(self._state)
        await asyncio.sleep(max(POLL_SECONDS, 5 * (time.monotonic() - began)))
        return job


@asynccontextmanager
async def _following(
    client: AsyncMemrelay, state: State, shown: Display, job: str | None
) -> AsyncIterator[Following]:
    following = Following(client, state, shown, job)
    task = asyncio.create_task(following.for_ever())
    try:
        yield following
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _interrupted(order: Order) -> int:
    mark = order.bookmark.read()
    line = mark.line if mark and mark.key == order.key else 0
    say(f"stopped after line {line}; go on with: {order.command}")
    return exits.PARTIAL


def _report(order: Order, result: Result, as_json: bool, seconds: float) -> int:
    imported, job = result.imported, result.job
    refused = order.earlier_refused + imported.refused
    failed = job.primary.failed + job.primary.canceled if job else 0
    done = job.primary.stored if job else imported.accepted
    for refusal in imported.refusals[:SHOWN_REFUSALS]:
        say(f"line {refusal.line}: {refusal.code}: {refusal.detail}")
    if imported.refused > SHOWN_REFUSALS:
        say(f"and {imported.refused - SHOWN_REFUSALS} more lines were refused")
    for failure in job.errors if job else ():
        say(f"failed: {failure.id} in {failure.driver}: {failure.code}: {failure.detail}")
    if as_json:
        show_json(
            {
                "lines": imported.line,
                "accepted": imported.accepted,
                "refused": refused,
                "failed": failed,
                "refusals": [
                    {"line": r.line, "code": r.code, "detail": r.detail} for r in imported.refusals
                ],
                "job": job if job is not None else {"id": imported.job},
                "seconds": round(seconds, 3),
            }
        )
    else:
        typer.echo(
            f"{done} {'stored' if job else 'accepted'}, {refused} refused, {failed} failed "
            f"in {seconds:.1f} s; job {imported.job or order.job or '-'}"
        )
    if not refused and not failed:
        return exits.OK
    return exits.PARTIAL if done else exits.FAILED
