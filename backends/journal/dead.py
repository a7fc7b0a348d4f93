"""Dead letters: memories that were given up, with payload, stage, cause, attempts and origin."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from backends.journal.envelope import Write, decode_write
from backends.journal.errors import translated
from backends.journal.journal import CHECK_MS, PREFIX, Journal, script
from memrelay.jobs import JobId

PAGE = 256
AT_ONCE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One memory that ``drivers`` do not have. ``stage`` is ``embed`` or ``store``; times in microseconds.

    ``version`` is the memory's own; a replay writes it under that.
    """

    version: int
    id: str
    source: str
    queue: str
    stage: str
    code: str
    detail: str
    drivers: Sequence[str]
    attempts: int
    died_at: int
    write: Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters: all that is given must hold. ``code`` is the cause; times in microseconds."""

    code: str | None = None
    driver: str | None = None
    source: str | None = None
    ids: frozenset[str] | None = None
    versions: frozenset[int] | None = None
    before: int | None = None
    after: int | None = None

    def holds(self, letter: DeadLetter) -> bool:
        return (
            self.code in (None, letter.code)
            and (self.driver is None or self.driver in letter.drivers)
            and self.source in (None, letter.source)
            and (self.ids is None or letter.id in self.ids)
            and (self.versions is None or letter.version in self.versions)
            and (self.before is None or letter.died_at < self.before)
            and (self.after is None or letter.died_at >= self.after)
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay entered: one job, and the (queue, envelope) that are to be announced."""

    count: int
    job: JobId | None
    envelopes: Sequence[tuple[str, int]]


async def by_cause(journal: Journal, namespace: str) -> dict[str, int]:
    """How many dead letters there are of each code, the most first."""
    with translated():
        found = await journal.client.hgetall(f"{PREFIX}dlc:{namespace}")
    rows = {code.decode(): int(n) for code, n in cast(dict[bytes, bytes], found).items()}
    return dict(sorted(rows.items(), key=lambda row: (-row[1], row[0])))


async def dead_letters(
    journal: Journal, namespace: str, where: Selection, *, below: int | None = None
) -> AsyncGenerator[DeadLetter]:
    """Those that ``where`` selects, the newest version first, from below the version ``below`` on."""
    top = "+inf" if below is None else f"({below}"
    bottom = str(min(where.versions)) if where.versions else "-inf"
    while True:
        with translated():
            found = await journal.client.zrevrangebyscore(
                f"{PREFIX}dls:{namespace}", top, bottom, start=0, num=PAGE
            )
            versions = [int(version) for version in cast(Sequence[bytes], found)]
            async with journal.client.pipeline(transaction=False) as pipe:
                for version in versions:
                    pipe.hgetall(f"{PREFIX}dl:{version}")
                rows = await pipe.execute()
        for version, row in zip(versions, rows, strict=True):
            if row:
                letter = _letter(version, row)
                if where.holds(letter):
                    yield letter
        if len(versions) < PAGE:
            return
        top = f"({versions[-1]}"


async def replay(journal: Journal, namespace: str, where: Selection, *, limit: int) -> Replay:
    """Put at most ``limit`` (≤ 512) dead letters on their road again, under their own versions."""
    count, first, envelopes = await _act(journal, "replay", namespace, where, limit)
    job = JobId(first, count) if first else None
    return Replay(count, job, envelopes)


async def delete(journal: Journal, namespace: str, where: Selection, *, limit: int) -> int:
    """Give at most ``limit`` (≤ 512) dead letters up for good; how many it were."""
    return (await _act(journal, "delete", namespace, where, limit))[0]


async def _act(
    journal: Journal, action: str, namespace: str, where: Selection, limit: int
) -> tuple[int, int, list[tuple[str, int]]]:
    versions: list[int] = []
    async for letter in dead_letters(journal, namespace, where):
        versions.append(letter.version)
        if len(versions) == min(limit, AT_ONCE):
            break
    if not versions:
        return 0, 0, []
    run = journal.client.register_script(script("dead"))
    args: list[str | int] = [action, namespace, CHECK_MS, *sorted(versions)]
    with translated():
        count, first, *rest = await run(keys=[PREFIX], args=args)
    pairs = zip(rest[::2], rest[1::2], strict=True)
    envelopes = [(queue.decode(), int(eid)) for queue, eid in pairs]
    return int(count), int(first or 0), envelopes


def _letter(version: int, row: Mapping[bytes, bytes]) -> DeadLetter:
    fields: dict[str, Any] = {
        key.decode(): value.decode() for key, value in row.items() if key != b"payload"
    }
    return DeadLetter(
        version=version,
        id=fields["id"],
        source=fields["src"],
        queue=fields["q"],
        stage=fields["stage"],
        code=fields["code"],
        detail=fields["detail"],
        drivers=fields["drivers"].split(","),
        attempts=int(fields["attempts"]),
        died_at=1000 * int(fields["at"]),
        write=decode_write(row[b"payload"]),
    )
