"""Lists of jobs: the newest first, by status, from the envelopes that can have such a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Literal, cast

from backends.journal.errors import translated
from backends.journal.jobs import Envelope, read_envelopes, read_jobs
from backends.journal.journal import PREFIX, Journal, script
from memrelay.batching import MAX_MEMORIES
from memrelay.jobs import Job, JobId, JobStatus

LOOKED_AT = 2000
"""Envelopes that one call of the script looks at: a few milliseconds."""
LOOKS = 100
READ = 2000
"""Jobs that are read at most for one page: then it ends, full or not."""
AT_ONCE = 100

Class = Literal["all", "new", "waiting", "begun", "bad", "ended"]
"""Of envelopes; see the script."""
CLASS_OF: Mapping[JobStatus | None, Class] = {
    None: "all",
    "accepted": "new",
    "processing": "begun",
    "stored": "ended",
    "partial": "bad",
    "failed": "bad",
    "canceled": "bad",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs: all that is given must hold. ``before`` and ``after`` are of the time of acceptance, in
    microseconds; ``waiting``: some of it was never claimed, and can be canceled."""

    status: JobStatus | None = None
    source: str | None = None
    before: int | None = None
    after: int | None = None
    waiting: bool = False

    def holds(self, job: Job) -> bool:
        """Of a job that was accepted in that time."""
        return self.status in (None, job.status) and self.source in (None, job.source)

    def covers(self, at: int) -> bool:
        """Whether that is a time of acceptance that was asked for."""
        return (self.before is None or at < self.before) and (
            self.after is None or at >= self.after
        )

    @property
    def envelopes(self) -> Class:
        return "waiting" if self.waiting else CLASS_OF[self.status]


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, the newest first. The next ones are ``below`` that version; None at the end."""

    jobs: Sequence[Job]
    below: int | None


ANY = JobFilter()


async def list_jobs(
    journal: Journal,
    namespace: str,
    where: JobFilter = ANY,
    *,
    below: int | None = None,
    limit: int,
) -> JobPage:
    """At most ``limit`` jobs, from below the version ``below`` on.

    Fewer before the end only where more than ``READ`` jobs had to be read to find none.
    """
    below = _lower(below, where.before)
    jobs: list[Job] = []
    read = 0
    for _ in range(LOOKS):
        most = min(AT_ONCE, limit - len(jobs)) if where.envelopes == "all" else AT_ONCE
        eids, looked_to = await _envelopes(journal, namespace, where, below, most)
        ids = await _jobs_in(journal, namespace, eids, where.after or 0, below)
        for part in batched(ids, most):
            for job in await read_jobs(journal, namespace, part):
                if where.holds(job):
                    jobs.append(job)
                if len(jobs) == limit:
                    return JobPage(jobs, _first(job))
            read += len(part)
            below = part[-1].first
            if read >= READ:
                return JobPage(jobs, below)
        if looked_to is None:
            return JobPage(jobs, None)
        below = _lower(below, looked_to)  # a job of the last envelope may have begun before it
    return JobPage(jobs, below)


def _lower(*bounds: int | None) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _first(job: Job) -> int:
    id = JobId.parse(job.id)
    assert id is not None
    return id.first


async def _envelopes(
    journal: Journal, namespace: str, where: JobFilter, below: int | None, most: int
) -> tuple[list[int], int | None]:
    """The next ones that jobs may be read from, and down to which version that is all; None for the end."""
    top = "+inf" if below is None else f"({below}"
    bottom = "-inf" if where.after is None else str(where.after - MAX_MEMORIES)
    run = journal.client.register_script(script("jobs"))
    args: list[str | int] = [namespace, top, bottom, where.envelopes, most, LOOKED_AT]
    with translated():
        looked_to, *eids = cast(Sequence[bytes], await run(keys=[PREFIX], args=args))
    return [int(eid) for eid in eids], int(looked_to) if looked_to else None


async def _jobs_in(
    journal: Journal, namespace: str, eids: Sequence[int], lowest: int, below: int | None
) -> list[JobId]:
    """The jobs that have something in these envelopes and begin from ``lowest`` on and below ``below``."""
    found: dict[int, JobId] = {}
    for envelope in await read_envelopes(journal, eids):
        slices = _slices(envelope)
        if not slices or slices[0].first > envelope.eid:
            began = await _running_into(journal, namespace, envelope.eid)
            slices = [began, *slices] if began else slices
        found |= {id.first: id for id in slices}
    chosen = [first for first in found if first >= lowest and (below is None or first < below)]
    return [found[first] for first in sorted(chosen, reverse=True)]


def _slices(envelope: Envelope) -> list[JobId]:
    return [JobId(envelope.eid + start, count) for start, count in envelope.slices]


async def _running_into(journal: Journal, namespace: str, eid: int) -> JobId | None:
    """The job that began in an earlier envelope and runs on into this one."""
    before = eid
    while True:
        with translated():
            found = await journal.client.zrevrangebyscore(
                f"{PREFIX}envs:{namespace}", f"({before}", "-inf", start=0, num=1
            )
        earlier = await read_envelopes(
            journal, [int(before) for before in cast(Sequence[bytes], found)]
        )
        if not earlier:
            return None
        slices = _slices(earlier[0])
        if slices:
            reaches = slices[-1].first + slices[-1].count > eid
            return slices[-1] if reaches else None
        before = earlier[0].eid
