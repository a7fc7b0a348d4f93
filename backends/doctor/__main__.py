"""``python -m backends.doctor [DATA]``: one line of JSON for each check.

``{"check", "status", "detail", "mend"}``. ``DATA`` is the directory of an embedded installation.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from backends.doctor import machine, stores
from backends.doctor.broker import broker
from backends.doctor.finding import Finding, checked, place
from backends.doctor.journal import apart, clock, durable, exposure, workers
from backends.journal import Journal
from memrelay.embedded.environment import known_redis_port
from memrelay.errors import ConfigError
from memrelay.settings import Settings, load_settings


async def findings(data: Path | None) -> AsyncIterator[Finding]:
    """In the order in which one thing needs another."""
    if misspelt := machine.misspelt(os.environ):
        yield misspelt
    try:
        settings = load_settings()
    except ConfigError as error:
        yield Finding("settings", "wrong", str(error), "correct it in memrelay.toml or MEMRELAY_*")
        return
    sources = ", ".join(f"{n} ({' > '.join(s.drivers)})" for n, s in settings.sources.items())
    yield Finding("settings", "ok", f"sources: {sources}")
    async for finding in _journal(settings, data):
        yield finding
    mend = _started("broker", settings.broker_url, "MEMRELAY_BROKER_URL", data)
    yield await checked("broker", partial(broker, settings), mend)
    async for finding in _stores(settings):
        yield finding
    yield await checked("port", partial(machine.port, settings), "")
    if directories := machine.own_directories(settings, data):
        yield machine.disk(directories)


async def _journal(settings: Settings, data: Path | None) -> AsyncIterator[Finding]:
    """What asks the journal, as long as it answers."""
    journal = Journal(settings.journal_url)
    mend = _started("Redis", settings.journal_url, "MEMRELAY_JOURNAL_URL", data)
    try:
        found = await checked("journal", partial(durable, journal, settings), mend)
        yield found
        if found.status == "unavailable" or found.mend:
            return
        yield await checked("clock", partial(clock, journal), mend)
        yield await checked(
            "journal and stores", partial(apart, journal, settings, embedded=data is not None), mend
        )
        yield await checked("workers", partial(workers, journal), mend)
        yield await checked("exposure", partial(exposure, journal, settings), mend)
    finally:
        await journal.close()


def _started(what: str, url: str, setting: str, data: Path | None) -> str:
    """The mend of a server that does not answer; an embedded one is ``up``'s to start."""
    port = known_redis_port(data) if data else None
    if port and place(url).startswith(f"127.0.0.1:{port}/"):
        return "start memrelay up, which has its data here"
    return f"start the {what} at {place(url)}, or set {setting}"


async def _stores(settings: Settings) -> AsyncIterator[Finding]:
    whole = True
    for name in settings.driver_names:
        mend = f"start its server, or correct drivers.{name}"
        found = await checked(f"driver {name}", partial(stores.driver, name, settings), mend)
        whole = whole and found.status != "wrong"
        yield found
    for model in dict.fromkeys(source.embedding for source in settings.sources.values()):
        mend = f"see that the model's service answers, or correct models.{model}"
        found = await checked(
            f"embedding {model}", partial(stores.embedding, model, settings), mend
        )
        whole = whole and found.status == "ok"
        yield found
    if whole:
        yield await checked("sources", partial(stores.together, settings), "")


async def _main() -> None:
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    async for finding in findings(data):
        sys.stdout.write(json.dumps(asdict(finding)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(_main())
