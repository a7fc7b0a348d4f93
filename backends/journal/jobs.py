"""Reading jobs back: slices of the envelopes that the journal still knows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

from backends.journal.errors import translated
from backends.journal.journal import KEEP_FAILED_MS, PREFIX, Journal
from backends.journal.timings import courses, started_at
from memrelay.jobs import DriverCounts, Job, JobId, JobStatus, MemoryFailure
from memrelay.types import Lane

MAX_ERRORS = 10
IMPORT_PREFIX = "job_i"


@dataclass(frozen=True, slots=True)
class Envelope:
    """One envelope's hash, decoded."""

    eid: int
    fields: Mapping[str, str]

    @property
    def n(self) -> int:
        return int(self.fields["n"])

    @property
    def drivers(self) -> list[str]:
        return self.fields["d"].split(",")

    @property
    def slices(self) -> list[tuple[int, int]]:
        """(offset of its first memory, number of memories) of each job that begins in it."""
        parts = self.fields["sl"].split(",") if self.fields["sl"] else []
        return [(int(start), int(count)) for start, _, count in (p.partition(":") for p in parts)]

    def outcomes(self, driver: str) -> str:
        """One letter for each memory; ``.`` where there is no outcome yet."""
        letters = self.fields.get(f"o:{driver}", "")
        return letters * self.n if len(letters) == 1 else letters or "." * self.n

    def errors(self, driver: str) -> list[tuple[int, str, str, str]]:
        raw = self.fields.get(f"x:{driver}")
        return msgspec.json.decode(raw, type=list[tuple[int, str, str, str]]) if raw else []

    @property
    def started(self) -> bool:
        return any(name.startswith("a:") and value != "0" for name, value in self.fields.items())


async def read_job(journal: Journal, namespace: str, id: str) -> Job | None:
    """The job, or None if this namespace has none of that id, or no longer."""
    ranges = await ranges_of(journal, namespace, id)
    return _whole(
        id, ranges, await read_envelopes(journal, await _eids_of(journal, namespace, ranges))
    )


def _whole(id: str, ranges: Sequence[JobId], envelopes: Sequence[Envelope]) -> Job | None:
    gone = sum(job.count for job in ranges) - _held(envelopes, ranges)
    if not envelopes or (gone and not id.startswith(IMPORT_PREFIX)):
        return None
    return _job(id, ranges, envelopes, gone=gone)


async def ranges_of(journal: Journal, namespace: str, id: str) -> list[JobId]:
    """The version ranges that a job's id stands for; none for an id that cannot be one.

    An import is entered in many commits: its ranges are kept under a key of its own.
    """
    if not id.startswith(IMPORT_PREFIX):
        job = JobId.parse(id)
        return [job] if job else []
    with translated():
        parts = await journal.client.lrange(f"{PREFIX}imp:{namespace}:{id}", 0, -1)
    jobs = [JobId.parse(part.decode()) for part in cast(Sequence[bytes], parts)]
    return sorted((job for job in jobs if job is not None), key=lambda job: job.first)


async def add_to_import(journal: Journal, namespace: str, id: str, part: JobId) -> None:
    """One more commit belongs to the import ``id``."""
    key = f"{PREFIX}imp:{namespace}:{id}"
    with translated():
        async with journal.client.pipeline(transaction=True) as pipe:
            pipe.rpush(key, str(part))
            pipe.pexpire(key, KEEP_FAILED_MS)
            await pipe.execute()


async def read_jobs(journal: Journal, namespace: str, ids: Sequence[JobId]) -> list[Job]:
    """Those of the jobs that the journal still knows whole, in the order of ``ids``."""
    eids = await _eids_of(journal, namespace, ids)
    envelopes = await read_envelopes(journal, eids)
    found = [_whole(str(id), [id], _overlapping(envelopes, id)) for id in ids]
    return [job for job in found if job is not None]


def _overlapping(envelopes: Sequence[Envelope], id: JobId) -> list[Envelope]:
    """Of envelopes in order, those that hold something of the job, or that it would begin in."""
    start = max(0, bisect_right(envelopes, id.first, key=lambda envelope: envelope.eid) - 1)
    end = bisect_right(envelopes, id.first + id.count - 1, key=lambda envelope: envelope.eid)
    return list(envelopes[start:end])


async def watch(journal: Journal, namespace: str, id: str, channel: str) -> Job | None:
    """The job now; ``channel`` is told of each envelope of it that settles from here on."""
    ranges = await ranges_of(journal, namespace, id)
    eids = await _eids_of(journal, namespace, ranges)
    return _whole(id, ranges, await read_envelopes(journal, eids, channel=channel))


async def _eids_of(journal: Journal, namespace: str, ranges: Sequence[JobId]) -> list[int]:
    """All envelopes that still hold a part of the ranges, in order."""
    index = f"{PREFIX}envs:{namespace}"
    with translated():
        async with journal.client.pipeline(transaction=False) as pipe:
            for job in ranges:
                pipe.zrevrangebyscore(index, job.first, "-inf", start=0, num=1)
                pipe.zrangebyscore(index, f"({job.first}", job.first + job.count - 1)
            rows = await pipe.execute()
    return sorted({int(eid) for row in rows for eid in row})


async def read_envelopes(
    journal: Journal, eids: Sequence[int], *, channel: str | None = None
) -> list[Envelope]:
    """As they are; ``channel`` is told of each that settles after that."""
    with translated():
        async with journal.client.pipeline(transaction=False) as pipe:
            for eid in eids:
                if channel is not None:
                    pipe.sadd(f"{PREFIX}wt:{eid}", channel)
                    pipe.expire(f"{PREFIX}wt:{eid}", 600)
            for eid in eids:
                pipe.hgetall(f"{PREFIX}e:{eid}")
            rows = (await pipe.execute())[-len(eids) :] if eids else []
    return [
        Envelope(eid, {key.decode(): value.decode() for key, value in row.items()})
        for eid, row in zip(eids, rows, strict=True)
        if row
    ]


def _parts(envelope: Envelope, ranges: Sequence[JobId]) -> Iterator[tuple[int, int]]:
    """(first position, number of memories) of each piece of the envelope that is in the ranges."""
    index = max(0, bisect_right(ranges, envelope.eid, key=lambda job: job.first) - 1)
    for at in range(index, len(ranges)):
        job = ranges[at]
        start = max(job.first, envelope.eid) - envelope.eid
        end = min(job.first + job.count, envelope.eid + envelope.n) - envelope.eid
        if start >= envelope.n:
            break
        if end > start:
            yield start, end - start


def _held(envelopes: Sequence[Envelope], ranges: Sequence[JobId]) -> int:
    """How many memories of the ranges these envelopes hold."""
    return sum(count for envelope in envelopes for _, count in _parts(envelope, ranges))


def _job(id: str, ranges: Sequence[JobId], envelopes: Sequence[Envelope], *, gone: int) -> Job:
    """``gone`` memories were in envelopes that have left the journal: only success leaves within a week."""
    drivers = envelopes[0].drivers
    total = sum(job.count for job in ranges)
    letters = dict.fromkeys(drivers, "a" * gone)
    failures: list[MemoryFailure] = []
    for envelope in envelopes:
        for start, count in _parts(envelope, ranges):
            for driver in drivers:
                letters[driver] += envelope.outcomes(driver)[start : start + count]
                failures += _failures(envelope, driver, start, count)
    counts = {
        driver: DriverCounts(
            total=total,
            stored=row.count("a") + row.count("s"),
            failed=row.count("f"),
            needs_sync=row.count("n"),
            canceled=row.count("c"),
        )
        for driver, row in letters.items()
    }
    ends = [int(e.fields["fin"]) * 1000 for e in envelopes if "fin" in e.fields]
    return Job(
        id=id,
        status=_status(letters, started=any(envelope.started for envelope in envelopes)),
        source=envelopes[0].fields["src"],
        lane=cast(Lane, envelopes[0].fields["q"].partition(".")[2]),
        total=total,
        primary=drivers[0],
        counts=counts,
        errors=failures[:MAX_ERRORS],
        accepted_at=int(envelopes[0].fields["at"]) * 1000,
        started_at=started_at([envelope.fields for envelope in envelopes]),
        courses=courses([envelope.fields for envelope in envelopes], drivers),
        ended_at=max(ends) if len(ends) == len(envelopes) else None,
    )


def _failures(envelope: Envelope, driver: str, start: int, count: int) -> list[MemoryFailure]:
    return [
        MemoryFailure(id, envelope.eid + position, driver, code, detail)
        for position, id, code, detail in envelope.errors(driver)
        if start <= position < start + count
    ]


def _status(letters: Mapping[str, str], *, started: bool) -> JobStatus:
    rows = list(letters.values())
    if any("." in row for row in rows):
        return "processing" if started else "accepted"
    seen = set().union(*rows)
    if seen <= {"a", "s"}:
        return "stored"
    if seen == {"c"}:
        return "canceled"
    return "failed" if seen <= {"f", "c"} else "partial"
