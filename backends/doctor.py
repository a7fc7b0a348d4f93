"""``python -m backends.doctor``: check what the settings name. One line of JSON for each check.

``{"check", "status": "ok" | "wrong" | "unavailable", "detail", "mend"}``; a wrong thing stays wrong
until somebody mends it, an unavailable one may come back by itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

from backends.broker import Publisher, create_app
from backends.journal import Journal, check_durable
from backends.registry import create_driver, create_embedder
from backends.sources import EXTERNAL, open_sources
from memrelay.errors import ConfigError, MemrelayError, Transient
from memrelay.sentinels import sentinels_of, watched
from memrelay.settings import Settings, load_settings

SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    status: Literal["ok", "wrong", "unavailable"]
    detail: str
    mend: str = ""


async def findings() -> AsyncIterator[Finding]:
    """In the order in which one thing needs another."""
    try:
        settings = load_settings()
    except ConfigError as error:
        yield Finding("settings", "wrong", str(error), "correct it in memrelay.toml or MEMRELAY_*")
        return
    sources = ", ".join(f"{n} ({' > '.join(s.drivers)})" for n, s in settings.sources.items())
    yield Finding("settings", "ok", f"sources: {sources}")
    yield await _checked(
        "journal",
        partial(_journal, settings),
        f"start the Redis at {_place(settings.journal_url)}, or set MEMRELAY_JOURNAL_URL",
    )
    yield await _checked(
        "broker",
        partial(_broker, settings),
        f"start the broker at {_place(settings.broker_url)}, or set MEMRELAY_BROKER_URL",
    )
    whole = True
    for name in settings.driver_names:
        mend = f"start its server, or correct drivers.{name}"
        finding = await _checked(f"driver {name}", partial(_driver, name, settings), mend)
        whole = whole and finding.status != "wrong"
        yield finding
    for model in dict.fromkeys(source.embedding for source in settings.sources.values()):
        mend = f"see that the model's service answers, or correct models.{model}"
        finding = await _checked(f"embedding {model}", partial(_embedding, model, settings), mend)
        whole = whole and finding.status == "ok"
        yield finding
    if whole:
        yield await _checked("sources", partial(_sources, settings), "")


async def _checked(name: str, check: Callable[[], Awaitable[str]], mend: str) -> Finding:
    """What ``check`` says it found; an error's class decides between wrong and unavailable."""
    try:
        async with asyncio.timeout(SECONDS):
            return Finding(name, "ok", await check())
    except TimeoutError:
        return Finding(name, "unavailable", f"no answer within {SECONDS:g} s", mend)
    except Transient as error:
        return Finding(name, "unavailable", str(error).removeprefix(f"{name}: "), mend)
    except ConfigError as error:  # says itself what to do
        return Finding(name, "wrong", str(error).removeprefix(f"{name}: "))
    except MemrelayError as error:
        return Finding(name, "wrong", str(error).removeprefix(f"{name}: "), mend)


async def _journal(settings: Settings) -> str:
    journal = Journal(settings.journal_url)
    try:
        await check_durable(journal, settings)
    finally:
        await journal.close()
    held = f"held by {settings.journal_replicas} replicas" if settings.journal_replicas else ""
    if watched(settings.journal_url) and not settings.journal_replicas:
        held = "a failover may lose what was accepted just before: journal_replicas is 0"
    place = _place(settings.journal_url)
    return ", ".join(part for part in (f"durable ({settings.durability})", held, place) if part)


async def _broker(settings: Settings) -> str:
    await asyncio.to_thread(_connect, settings)
    return _place(settings.broker_url)


def _connect(settings: Settings) -> None:
    app = create_app(settings)
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
        except Publisher(app).errors as error:
            raise Transient(str(error).strip() or type(error).__name__) from None


async def _driver(name: str, settings: Settings) -> str:
    driver = create_driver(name, settings.drivers[name])
    try:
        await driver.open()
        await driver.ping()
    finally:
        await driver.close()
    able = driver.capabilities
    return "answers" + (", searches by keyword too" if able.keyword else "")


async def _embedding(model: str, settings: Settings) -> str:
    if model == EXTERNAL:
        return "callers bring their vectors"
    embedder = create_embedder(model, settings.models.get(model, {}))
    try:
        await embedder.open()
        vectors = await embedder.embed(["a memory"])
    finally:
        await embedder.close()
    return f"{len(vectors[0]) // 4} dimensions"


async def _sources(settings: Settings) -> str:
    """Models and drivers fit together."""
    sources = await open_sources(settings)
    await sources.close()
    return "drivers and models fit together"


def _place(url: str) -> str:
    """Host and port of an address, without what is secret in it."""
    if watched(url):
        return sentinels_of(url).place
    parts = urlsplit(url)
    return f"{parts.hostname or ''}:{parts.port or ''}{parts.path}".strip(":")


async def _main() -> None:
    async for finding in findings():
        sys.stdout.write(json.dumps(asdict(finding)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(_main())
