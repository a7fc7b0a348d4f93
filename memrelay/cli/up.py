"""``up``: everything on this machine in one terminal, with its data in one directory."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from memrelay import exits
from memrelay.cli.output import plain
from memrelay.client import AsyncMemrelay, key_of_file
from memrelay.embedded.stack import running

QUESTION = "What does Ana prefer to eat?"
SAMPLE_SECONDS = 120.0
TOP_K = 3
COLORS = {
    "redis": typer.colors.RED,
    "api": typer.colors.GREEN,
    "worker": typer.colors.YELLOW,
    "up": typer.colors.CYAN,
}


def up(
    data: Annotated[Path, typer.Option(help="Where everything is kept.", metavar="DIR")] = Path(
        ".memrelay"
    ),
    sample: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Take in this file of NDJSON, and ask."),
    ] = None,
    ask: Annotated[
        str | None,
        typer.Option(help=f"What to ask when it is up. With --sample: {QUESTION}"),
    ] = None,
) -> int:
    """Redis, API and worker in this terminal, until Ctrl-C. Settings that name drivers still win."""
    asyncio.run(_up(data.resolve(), sample, ask or (QUESTION if sample else None)))
    return exits.OK


async def _up(data: Path, sample: Path | None, question: str | None) -> None:
    hurry = asyncio.Event()
    work = asyncio.create_task(_serve(data, sample, question, hurry))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        """In order the first time, at once the second."""
        if work.cancelling():
            hurry.set()
        else:
            _pass_on("up", "stopping; once more to make it fast")
            work.cancel()

    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sign, stop)
    try:
        await work
    except asyncio.CancelledError:
        _pass_on("up", "stopped")


async def _serve(
    data: Path, sample: Path | None, question: str | None, hurry: asyncio.Event
) -> None:
    async with running(data, say=_pass_on, hurry=hurry) as stack:
        await stack.ready()
        _pass_on("up", f"ready: {stack.url} (data in {data}; Ctrl-C stops)")
        async with AsyncMemrelay(stack.url) as client:
            if sample is not None:
                await _take_in(client, sample)
            if question is not None:
                await _ask(client, question)
        await stack.end()


async def _take_in(client: AsyncMemrelay, sample: Path) -> None:
    taken = await client.import_ndjson(sample, idempotency_key=key_of_file(sample))
    for refusal in taken.refusals:
        _pass_on("up", f"{sample}: line {refusal.line}: {refusal.detail}")
    if taken.job is not None:
        job = await client.wait_job(taken.job, timeout=SAMPLE_SECONDS)
        counts = ", ".join(f"{name} {c.stored}" for name, c in job.counts.items())
        _pass_on("up", f"{taken.accepted} memories of {sample} taken in: {job.status} ({counts})")


async def _ask(client: AsyncMemrelay, question: str) -> None:
    answer = await client.search(question, top_k=TOP_K)
    _pass_on("up", f"asked: {question}")
    for hit in answer.hits:
        _pass_on("up", f"{hit.score:6.3f}  {hit.text}")
    served = " and ".join(answer.served_by)
    _pass_on("up", f"({answer.mode} search by {served} in {answer.took_ms:.0f} ms)")


def _pass_on(name: str, line: str) -> None:
    """One line of a child, or of ours, with its prefix."""
    typer.secho(f"{name:>6} │ ", fg=COLORS.get(name), nl=False)
    typer.echo(plain(line))
    sys.stdout.flush()
