"""The journal, and what it knows of the workers."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis

from backends.doctor import machine
from backends.doctor.finding import Finding, place
from backends.journal import Journal, check_durable
from backends.journal.apikeys import locked
from backends.journal.errors import translated
from backends.journal.pulse import Pulse, pulse
from memrelay import __version__
from memrelay.errors import MemrelayError
from memrelay.sentinels import watched
from memrelay.settings import JOURNALS, Settings

SKEW_SECONDS = 5.0


async def durable(journal: Journal, settings: Settings) -> str:
    await check_durable(journal, settings)
    held = f"held by {settings.journal_replicas} replicas" if settings.journal_replicas else ""
    if watched(settings.journal_url) and not settings.journal_replicas:
        held = "a failover may lose what was accepted just before: journal_replicas is 0"
    parts = (f"durable ({settings.durability})", held, place(settings.journal_url))
    return ", ".join(part for part in parts if part)


async def clock(journal: Journal, now: float | None = None) -> str | Finding:
    """Versions and expiry go by the journal's clock, ``created_at`` and retries by ours."""
    with translated():
        seconds, micros = await journal.client.time()
    skew = (time.time() if now is None else now) - (int(seconds) + int(micros) / 1e6)
    if abs(skew) <= SKEW_SECONDS:
        return f"within {SKEW_SECONDS:g} s of the journal's"
    behind = "ahead of" if skew > 0 else "behind"
    return Finding(
        "clock",
        "wrong",
        f"this machine is {abs(skew):.0f} s {behind} the journal's Redis",
        "let both be set by NTP",
    )


async def apart(journal: Journal, settings: Settings, *, embedded: bool) -> str | Finding:
    """A store that fills up must not make the journal refuse writes."""
    if embedded:
        return "in one Redis, as in embedded use they may be"
    ours = await _run_id(journal.client)
    for name, options in settings.drivers.items():
        url = str(options.get("url", ""))
        if urlsplit(url).scheme in JOURNALS and await _run_id_of(url) == ours:
            return Finding(
                "journal and stores",
                "warning",
                f"drivers.{name} is in the journal's own Redis: when one is full both refuse writes",
                f"give drivers.{name} a Redis of its own",
            )
    return "no store shares the journal's Redis"


async def workers(journal: Journal) -> str | Finding:
    """Somebody is there, gets on with it, and is of our version."""
    return judged(await pulse(journal))


def judged(seen: Pulse) -> str | Finding:
    name = "workers"
    if not seen.alive:
        return Finding(name, "unavailable", "no worker is running", "start one: memrelay worker")
    for queue, seconds in seen.stalled.items():
        detail = f"work waits on {queue}, and nobody has got on with it for {seconds:.0f} s"
        return Finding(name, "wrong", detail, "see that worker's log, and start it anew")
    others = {seen.versions.get(worker) or "an earlier one" for worker in seen.alive}
    others.discard(__version__)
    if others:
        detail = f"this is memrelay {__version__}, but there are workers of {', '.join(others)}"
        return Finding(name, "wrong", detail, "upgrade every API and worker to one version")
    return f"{len(seen.alive)} running"


async def exposure(journal: Journal, settings: Settings) -> str | Finding:
    """Nobody else is served without a key."""
    has_keys = settings.admin_key is not None or await locked(journal)
    return machine.exposure(settings, locked=has_keys, allowed=machine.insecure_open())


async def _run_id_of(url: str) -> str:
    """Empty where there is none to be had: the driver's own check says why."""
    client = Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3)
    try:
        return await _run_id(client)
    except MemrelayError:
        return ""
    finally:
        await client.aclose()


async def _run_id(client: Any) -> str:
    with translated():
        return str((await client.info("server"))["run_id"])
