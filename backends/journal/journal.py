"""The journal: every accepted envelope until its last stage has ended. Redis, by atomic scripts.

Nothing leaves ``due`` but by ending; versions never go back; a lease is fenced by its token.
``scripts/common.lua`` lists the keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from backends.journal.envelope import Write, decode_body, decode_vectors, join_writes
from backends.journal.errors import translated
from memrelay.batching import MAX_MEMORIES, Draft
from memrelay.errors import ConfigError, InvalidInput
from memrelay.settings import Settings

PREFIX = "{mrj}:"
LEASE_MS = 6_000  # renewed every 2 s; what a killed worker held is taken up again within 10 s
CHECK_MS = 30_000
GATE_MS = 900
SWEEP_LIMIT = 500
CLAIM_BYTES = 4 << 20
KEEP_BODY_MS = 10_000
KEEP_STORED_MS = 3_600_000
KEEP_FAILED_MS = 7 * 86_400_000
IDEMPOTENCY_SECONDS = 86_400
# With them, redis-py hands out connections that the server has closed: after a restart of the journal
# the first call on each of them would fail.
NO_NOTIFICATIONS = MaintNotificationsConfig(enabled=False)

_SCRIPTS = Path(__file__).parent / "scripts"
_pack = msgspec.msgpack.Encoder().encode


def script(name: str) -> str:
    """The text of one of the journal's scripts."""
    return (_SCRIPTS / "common.lua").read_text() + (_SCRIPTS / f"{name}.lua").read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Drafts which are entered together, under one idempotency key if there is one.

    ``answer`` is what a repetition of the request with the same key and ``body_hash`` gets back.
    """

    namespace: str
    source: str
    queue: str
    drivers: Sequence[str]
    drafts: Sequence[Draft]
    key: str = ""
    body_hash: str = ""
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class Entered:
    """A unit's first version. ``answer`` is that of the first request if this one repeats it."""

    first: int
    answer: bytes | None = None


class KeyReused(InvalidInput):
    """The idempotency key was used with another body."""

    code = "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class Claimed:
    """One envelope under our lease. ``vectors`` by position, if an earlier stage kept them."""

    eid: int
    attempts: int
    writes: Sequence[Write]
    vectors: Mapping[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one task works on: envelopes of one namespace and source under one lease."""

    token: str
    queue: str
    namespace: str
    source: str
    drivers: Sequence[str]
    envelopes: Sequence[Claimed]

    @property
    def eids(self) -> list[int]:
        return [envelope.eid for envelope in self.envelopes]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverResult:
    """What one driver did with one envelope: one letter for each memory, or ``later_ms``.

    ``a`` applied, ``s`` stale, ``f`` failed; ``errors`` has (position, id, code, detail) of the failed.
    """

    driver: str
    outcomes: str = ""
    errors: Sequence[tuple[int, str, str, str]] = ()
    later_ms: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The end of a stage for one envelope, or ``again_ms`` until it is tried again.

    ``refund`` gives back the attempt (an open breaker costs none). ``vectors`` (encoded) are kept
    if some driver is to be served later.
    """

    eid: int
    results: Sequence[DriverResult] = field(default_factory=tuple)
    again_ms: int = -1
    refund: bool = False
    vectors: bytes = b""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep moved back among the waiting, and how much waits on each queue."""

    moved: Sequence[tuple[str, int]]
    waiting: Mapping[str, int]
    expired: int
    retried: int


class Journal:
    """One process's connections to the journal, for one event loop."""

    def __init__(self, url: str, *, lease_ms: int = LEASE_MS) -> None:
        self.client = connect(url)
        self.lease_ms = lease_ms
        self._append = self.client.register_script(script("append"))
        self._claim = self.client.register_script(script("claim"))
        self._settle = self.client.register_script(script("settle"))

    async def close(self) -> None:
        await self.client.aclose()

    async def ping(self) -> None:
        with translated():
            await self.client.ping()

    async def append(self, units: Sequence[Unit]) -> list[Entered | KeyReused]:
        """Enter the units in order, in one script call; an answer for each."""
        bodies: list[bytes] = []
        argument = _pack({"check_ms": CHECK_MS, "units": [_packed(unit, bodies) for unit in units]})
        with translated():
            answers = await self._append(keys=[PREFIX], args=[argument, *bodies])
        return [_entered(answer) for answer in answers]

    async def claim(self, queue: str, token: str) -> Claim | None:
        """Take the next envelopes of ``queue`` under a lease; None if nothing waits."""
        args: list[str | int] = [queue, token, self.lease_ms, MAX_MEMORIES, CLAIM_BYTES]
        with translated():
            answer = await self._claim(keys=[PREFIX], args=args)
        if not answer:
            return None
        namespace, source, drivers, *envelopes = answer
        return Claim(
            token=token,
            queue=queue,
            namespace=namespace.decode(),
            source=source.decode(),
            drivers=drivers.decode().split(","),
            envelopes=[_claimed(*envelope) for envelope in envelopes],
        )

    async def settle(self, claim: Claim, settlements: Sequence[Settlement]) -> list[int]:
        """Settle what the claim still holds; the envelopes whose lease was lost are returned."""
        blobs: list[bytes] = []
        argument = _pack(
            {
                "token": claim.token,
                "queue": claim.queue,
                "keep_body_ms": KEEP_BODY_MS,
                "keep_ok_ms": KEEP_STORED_MS,
                "keep_failed_ms": KEEP_FAILED_MS,
                "entries": [_settled(settlement, blobs) for settlement in settlements],
            }
        )
        with translated():
            answers = await self._settle(keys=[PREFIX], args=[argument, *blobs])
        pairs = zip(settlements, answers, strict=True)
        return [settlement.eid for settlement, answer in pairs if answer != b"ok"]

    async def backlog(self, namespace: str, source: str, drivers: Sequence[str]) -> dict[str, int]:
        """Memories accepted and not yet applied, for each driver of a source."""
        names = [f"{namespace}|{source}|{driver}" for driver in drivers]
        with translated():
            counts = await self.client.hmget(PREFIX + "backlog", names)
        return {name: int(count or 0) for name, count in zip(drivers, counts, strict=True)}


def connect(url: str) -> aioredis.Redis:
    """A client for one loop: short time-outs, no retries of its own (an append is not repeated blindly)."""
    return aioredis.Redis.from_url(
        url,
        socket_timeout=5,
        socket_connect_timeout=3,
        health_check_interval=25,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=NO_NOTIFICATIONS,
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


def _index(blob: bytes, blobs: list[bytes]) -> int:
    """Where the script finds ``blob`` in its ARGV, the first of which is the packed argument."""
    blobs.append(blob)
    return len(blobs) + 1


def _packed(unit: Unit, bodies: list[bytes]) -> dict[str, Any]:
    return {
        "key": unit.key,
        "hash": unit.body_hash,
        "answer": unit.answer.decode(),
        "ttl": IDEMPOTENCY_SECONDS,
        "ns": unit.namespace,
        "envelopes": [
            {
                "src": unit.source,
                "q": unit.queue,
                "drivers": ",".join(unit.drivers),
                "n": len(draft.writes),
                "slices": ",".join(f"{start}:{count}" for start, count in draft.slices),
                "body": _index(join_writes(draft.writes), bodies),
            }
            for draft in unit.drafts
        ],
    }


def _entered(answer: list[bytes]) -> Entered | KeyReused:
    if answer[0] == b"conflict":
        return KeyReused("this Idempotency-Key was used with another body", pointer="")
    return Entered(int(answer[1]), answer[3] if answer[0] == b"replay" else None)


def _claimed(eid: bytes, _n: int, attempts: int, body: bytes, vectors: bytes) -> Claimed:
    return Claimed(
        int(eid), attempts, decode_body(body), decode_vectors(vectors) if vectors else {}
    )


def _settled(settlement: Settlement, blobs: list[bytes]) -> dict[str, Any]:
    return {
        "eid": str(settlement.eid),
        "again_ms": settlement.again_ms,
        "refund": settlement.refund,
        "vectors": _index(settlement.vectors, blobs) if settlement.vectors else 0,
        "results": [
            {
                "driver": result.driver,
                "outcomes": result.outcomes,
                "errors": msgspec.json.encode(result.errors).decode() if result.errors else "",
                "later_ms": result.later_ms,
            }
            for result in settlement.results
        ],
    }
