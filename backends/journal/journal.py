"""The journal: every accepted envelope until its last stage has ended. Redis, by atomic scripts.

Nothing leaves ``due`` but by ending; versions never go back; a lease is fenced by its token.
``scripts/common.lua`` lists the keys.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import msgspec
from redis.commands.core import AsyncScript

from backends.journal.connect import connect, disconnect
from backends.journal.errors import translated
from backends.journal.packing import (
    claim_of,
    entered,
    hidden_of,
    packed_limits,
    packed_settlement,
    packed_unit,
    scoped_of,
)
from backends.journal.values import (
    Changed,
    Claim,
    Entered,
    Full,
    Hidden,
    KeyReused,
    Limits,
    Scoped,
    Settled,
    Settlement,
    Tally,
    Unit,
)
from backends.redis_errors import ERRORS
from memrelay.batching import MAX_MEMORIES
from memrelay.errors import ConfigError, Unavailable

if TYPE_CHECKING:  # 0.1 s to import, and the process that reads large bodies has none
    from memrelay.settings import Settings

PREFIX = "{mrj}:"
LEASE_MS = 6_000  # renewed every 2 s; what a killed worker held is taken up again within 10 s
CHECK_MS = 30_000
GATE_MS = 900
SWEEP_LIMIT = 500
CLAIM_BYTES = 4 << 20
KEEP_BODY_MS = 10_000
REPLICAS_MS = 2_000
HELD = f"{PREFIX}held"
KEPT = 250_000
"""Envelopes that have ended and can still be read as jobs, about 600 bytes each."""
KEEP_STORED_MS = 3_600_000
KEEP_FAILED_MS = 7 * 86_400_000
DETACH_AT = 200_000
BOUNDS_MS = (
    10,
    25,
    50,
    100,
    250,
    500,
    1000,
    2500,
    5000,
    10_000,
    30_000,
    60_000,
    300_000,
    1_800_000,
    7_200_000,
)
"""Of the histogram of the time from accepting a memory until it can be found."""
NOTHING: Mapping[str, int] = MappingProxyType({})
DELETES = f"{PREFIX}deletes"
"""The channel on which each envelope with deletes is told of, as ``namespace|source``."""
LISTEN_AGAIN = 1.0
DEFAULTS = Limits()

_SCRIPTS = Path(__file__).parent / "scripts"
_pack = msgspec.msgpack.Encoder().encode


def script(name: str) -> str:
    """The text of one of the journal's scripts."""
    return (_SCRIPTS / "common.lua").read_text() + (_SCRIPTS / f"{name}.lua").read_text()


class Journal:
    """One process's connections to the journal, for one event loop."""

    def __init__(
        self,
        url: str,
        *,
        lease_ms: int = LEASE_MS,
        limits: Limits = DEFAULTS,
        detach_at: int = DETACH_AT,
        replicas: int = 0,
    ) -> None:
        self.client = connect(url)
        self.lease_ms = lease_ms
        self.hurried = False
        """Whether bulk work has to be paced, as the last append or claim was told."""
        self._limits = packed_limits(limits)
        self._detach_at = detach_at
        self._replicas = replicas
        self._append = self.client.register_script(script("append"))
        self._claim = self.client.register_script(script("claim"))
        self._settle = self.client.register_script(script("settle"))
        self._hidden = self.client.register_script(script("hidden"))

    async def close(self) -> None:
        await disconnect(self.client)

    async def ping(self) -> None:
        with translated():
            await self.client.ping()

    async def append(self, units: Sequence[Unit]) -> list[Entered | KeyReused | Changed | Full]:
        """Enter the units in order, in one script call; an answer for each.

        ``Unavailable`` while fewer replicas hold them than were asked for: what became of the units is
        then not known, as after a lost answer.
        """
        bodies: list[bytes] = []
        argument = {
            "check_ms": CHECK_MS,
            "limits": self._limits,
            "units": [packed_unit(unit, bodies) for unit in units],
        }
        args = [_pack(argument), *bodies]
        with translated():
            *answers, hurry = await self.held(self._append, args)
        self.hurried = bool(hurry)
        return [entered(answer) for answer in answers]

    async def held(self, run: AsyncScript, args: Sequence[bytes | str | int]) -> Any:
        """What a script answers, once the replicas that were asked for hold what it wrote."""
        if not self._replicas:
            return await run(keys=[PREFIX], args=args)
        async with self.client.pipeline(transaction=False) as pipe:
            # Replicas are waited for as far as this connection has written: an answer that is only
            # repeated, by its idempotency key, would write nothing.
            pipe.set(HELD, b"")
            await run(keys=[PREFIX], args=args, client=pipe)
            pipe.wait(self._replicas, REPLICAS_MS)
            _, answer, held = await pipe.execute()
        if held < self._replicas:
            raise Unavailable(
                f"journal: {held} of {self._replicas} replicas hold what was written "
                "(journal_replicas)",
                code="replicas",
            )
        return answer

    async def claim(self, queue: str, token: str) -> Claim | None:
        """Take the next envelopes of ``queue`` under a lease; None if nothing waits."""
        args: list[str | int] = [queue, token, self.lease_ms, MAX_MEMORIES, CLAIM_BYTES]
        with translated():
            answer = await self._claim(keys=[PREFIX], args=args)
        if not answer:
            return None
        claim = claim_of(token, queue, answer)
        self.hurried = claim.hurried
        return claim

    async def settle(
        self,
        claim: Claim,
        settlements: Sequence[Settlement],
        *,
        tally: Sequence[Tally] = (),
        seen: int = 0,
        counts: Mapping[str, int] = NOTHING,
    ) -> Settled:
        """Settle what the claim still holds. ``seen`` is the newest delete by filter that was looked at,
        ``counts`` is added to the totals."""
        blobs: list[bytes] = []
        argument = {
            "token": claim.token,
            "queue": claim.queue,
            "epoch": claim.epoch,
            "keep_body_ms": KEEP_BODY_MS,
            "keep_ok_ms": KEEP_STORED_MS,
            "keep_failed_ms": KEEP_FAILED_MS,
            "seen": seen,
            "detach_at": self._detach_at,
            "bounds": BOUNDS_MS,
            "counts": dict(counts),
            "tally": [value for line in tally for value in (line.stage, line.ok, line.bad)],
            "alarms": [value for line in tally if line.alarm for value in (line.stage, line.alarm)],
            "entries": [packed_settlement(settlement, blobs) for settlement in settlements],
        }
        with translated():
            answers = await self._settle(keys=[PREFIX], args=[_pack(argument), *blobs])
        pairs = list(zip(settlements, answers, strict=True))
        return Settled(
            lost=[settlement.eid for settlement, answer in pairs if answer == b"lost"],
            look=[settlement.eid for settlement, answer in pairs if answer == b"look"],
        )

    async def hidden(
        self, namespace: str, source: str, driver: str, ids: Sequence[str] = ()
    ) -> Hidden:
        """What a read of ``driver`` that found ``ids`` has to leave out."""
        with translated():
            answer = await self._hidden(keys=[PREFIX], args=[namespace, source, driver, *ids])
        return hidden_of(ids, answer)

    async def noted(self, namespace: str, source: str, ids: Sequence[str]) -> dict[str, int]:
        """For each of ``ids`` the last version that was accepted and noted, 0 where there is none.

        A version is noted until a minute after every driver has ended it: what is not noted is stored.
        """
        with translated():
            found = await self.client.hmget(f"{PREFIX}last:{namespace}|{source}", list(ids))
        return {id: int(version or 0) for id, version in zip(ids, found, strict=True)}

    async def scoped(self, namespace: str, source: str, *, above: int = 0) -> list[Scoped]:
        """The deletes by user or filter above a version, oldest first."""
        with translated():
            found = await self.client.zrangebyscore(
                f"{PREFIX}st:{namespace}|{source}", f"({above}", "+inf"
            )
        return [scoped_of(item) for item in cast(Sequence[bytes], found)]

    async def listen(self, channel: str) -> AsyncIterator[bytes]:
        """What is said on a channel, for ever. A connection that is lost is made again within a second;
        what is said meanwhile is missed."""
        while True:
            with contextlib.suppress(*ERRORS):
                async with self.client.pubsub() as heard:
                    await heard.subscribe(channel)
                    async for message in heard.listen():
                        if message["type"] == "message":
                            yield message["data"]
            await asyncio.sleep(LISTEN_AGAIN)


def limits_of(settings: Settings) -> Limits:
    """The bounds that the settings give."""
    return Limits(
        bytes=settings.journal_bytes,
        memories=settings.journal_memories,
        namespace_bytes=settings.namespace_bytes,
        namespace_memories=settings.namespace_memories,
        rate=settings.namespace_rate,
    )


async def check_durable(journal: Journal, settings: Settings) -> None:
    """Raise ``ConfigError`` unless the journal keeps what it is given (AOF, noeviction, fsync)."""
    with translated():
        server = await journal.client.info("server")
        config = await journal.client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    values = {_text(key): _text(value) for key, value in config.items()}
    wanted = {"appendonly": "yes", "maxmemory-policy": "noeviction"}
    if settings.durability == "fsync":
        wanted["appendfsync"] = "always"
    if int(str(server["redis_version"]).partition(".")[0]) < 8:
        raise ConfigError(f"journal_url: Redis {server['redis_version']} is too old; 8 or newer")
    for name, value in wanted.items():
        if values.get(name) != value:
            raise ConfigError(
                f"journal_url: the journal has {name} {values.get(name)}, it needs {value}: "
                f"set it in redis.conf, or run CONFIG SET {name} {value}"
            )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
