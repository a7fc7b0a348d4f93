"""``up``: everything on this machine in one terminal, with its data in one directory."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from memrelay import exits
from memrelay.cli.log import shower
from memrelay.cli.options import AsJson
from memrelay.client import AsyncMemrelay, key_of_file
from memrelay.embedded.child import Say
from memrelay.embedded.stack import Stack, running

QUESTION = "What does Ana prefer to eat?"
SAMPLE_SECONDS = 120.0
TOP_K = 3

type Tell = Callable[[str], None]


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
    as_json: AsJson = False,
) -> int:
    """Redis, API and worker in this terminal, until Ctrl-C. Settings that name drivers still win."""
    question = ask or (QUESTION if sample else None)
    asyncio.run(_up(data.resolve(), sample, question, shower(as_json)))
    return exits.OK


async def _up(data: Path, sample: Path | None, question: str | None, say: Say) -> None:
    hurry = asyncio.Event()
    work = asyncio.create_task(_serve(data, sample, question, say, hurry))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        """In order the first time, at once the second."""
        if work.cancelling():
            hurry.set()
        else:
            say("up", "stopping; once more to make it fast")
            work.cancel()

    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sign, stop)
    try:
        await work
    except asyncio.CancelledError:
        say("up", "stopped")


async def _serve(
    data: Path, sample: Path | None, question: str | None, say: Say, hurry: asyncio.Event
) -> None:
    async with running(data, say=say, hurry=hurry) as stack:
        await stack.ready()
        tell = partial(say, "up")
        _introduce(stack, data, tell)
        async with AsyncMemrelay(stack.url) as client:
            if sample is not None:
                await _take_in(client, sample, tell)
            if question is not None:
                await _ask(client, question, tell)
        await stack.end()


def _introduce(stack: Stack, data: Path, tell: Tell) -> None:
    for name, source in stack.settings.sources.items():
        tell(f"source {name}: in {' and '.join(source.drivers)}, embedded by {source.embedding}")
    tell(f"data in {data}; memrelay doctor checks it, Ctrl-C stops it")
    tell(f"ready: {stack.url}/ is the dashboard, {stack.url}/docs describes the HTTP API")


async def _take_in(client: AsyncMemrelay, sample: Path, tell: Tell) -> None:
    taken = await client.import_ndjson(sample, idempotency_key=key_of_file(sample))
    for refusal in taken.refusals:
        tell(f"{sample}: line {refusal.line}: {refusal.detail}")
    if taken.job is not None:
        job = await client.wait_job(taken.job, timeout=SAMPLE_SECONDS)
        counts = ", ".join(f"{name} {c.stored}" for name, c in job.counts.items())
        tell(f"{taken.accepted} memories of {sample} taken in: {job.status} ({counts})")


async def _ask(client: AsyncMemrelay, question: str, tell: Tell) -> None:
    answer = await client.search(question, top_k=TOP_K)
    tell(f"asked: {question}")
    for hit in answer.hits:
        tell(f"{hit.score:6.3f}  {hit.text}")
    served = " and ".join(answer.served_by)
    tell(f"({answer.mode} search by {served} in {answer.took_ms:.0f} ms)")
