"""The rules of the journal, each on a real Redis. A test here fails when its rule is taken out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from backends.journal import (
    Changed,
    Claim,
    DriverResult,
    Entered,
    Journal,
    KeyReused,
    Put,
    Settlement,
    ThreadJournal,
    Unit,
    encode_vectors,
    encode_write,
)
from backends.journal.joblist import list_jobs
from backends.journal.jobs import IMPORT_PREFIX, add_to_import, read_job
from backends.journal.journal import PREFIX
from deploy.native.redis import RedisServer
from memrelay.batching import pack
from memrelay.errors import Unavailable
from memrelay.jobs import JobId

QUEUE = "deliver.interactive"


def put(id: str) -> bytes:
    return encode_write(Put(id, f"text of {id}", None, None, (), {}, 1, None, None))


def unit(
    requests: Sequence[Sequence[str]],
    *,
    namespace: str = "ns",
    source: str = "default",
    drivers: Sequence[str] = ("redis",),
    key: str = "",
    body_hash: str = "",
) -> Unit:
    return Unit(
        namespace=namespace,
        source=source,
        queue=QUEUE,
        drivers=drivers,
        drafts=pack([([put(id) for id in ids], (), ()) for ids in requests]),
        key=key,
        body_hash=body_hash,
        answer=b"answer" if key else b"",
    )


def noting(ids: Sequence[str], expects: Mapping[str, int] | None = None, **options: Any) -> Unit:
    """One request whose ids are noted."""
    made = unit([], **options)
    drafts = pack([([put(id) for id in ids], (), ids)])
    return replace(made, drafts=drafts, expects=expects or {})


async def enter(journal: Journal, *units: Unit) -> list[int]:
    answers = await journal.append(units)
    assert all(isinstance(answer, Entered) for answer in answers)
    return [answer.first for answer in answers if isinstance(answer, Entered)]


async def claim(journal: Journal, token: str = "a") -> Claim:
    claimed = await journal.claim(QUEUE, token)
    assert claimed is not None
    return claimed


async def due(journal: Journal) -> dict[str, float]:
    rows: Any = await journal.client.zrange(f"{PREFIX}due", 0, -1, withscores=True)
    return {member.decode(): score for member, score in rows}


async def behind(journal: Journal, drivers: Sequence[str]) -> dict[str, int]:
    return {name: (await journal.hidden("ns", "default", name)).behind for name in drivers}


def applied(eid: int, driver: str = "redis") -> Settlement:
    return Settlement(eid=eid, results=[DriverResult(driver=driver, outcomes="a")])


async def test_accepted_memories_are_claimed_settled_and_their_job_says_stored(
    journal: Journal,
) -> None:
    [first] = await enter(journal, unit([["a", "b"]]))
    claimed = await claim(journal)
    assert [write.id for write in claimed.envelopes[0].writes] == ["a", "b"]
    assert (await journal.settle(claimed, [applied(first)])).lost == []
    job = await read_job(journal, "ns", str(JobId(first, 2)))
    assert job is not None
    assert (job.status, job.counts["redis"].stored) == ("stored", 2)


async def test_an_open_stage_stays_in_due_until_it_ends(journal: Journal) -> None:
    [first] = await enter(journal, unit([["a"]], drivers=("redis", "weaviate")))
    assert list(await due(journal)) == [f"{first}/{QUEUE}"]
    claimed = await claim(journal)
    assert list(await due(journal)) == [f"{first}/{QUEUE}"]
    later = DriverResult(driver="weaviate", later_ms=0)
    done = DriverResult(driver="redis", outcomes="a")
    vectors = encode_vectors({0: b"1234"})
    await journal.settle(claimed, [Settlement(eid=first, results=[done, later], vectors=vectors)])
    assert list(await due(journal)) == [f"{first}/store.weaviate"]
    job = await read_job(journal, "ns", str(JobId(first, 1)))
    assert job is not None
    assert job.status == "processing"
    assert job.primary_settled


async def test_what_a_driver_did_not_take_comes_back_with_its_vectors(
    journal: Journal, sweeper: ThreadJournal
) -> None:
    [first] = await enter(journal, unit([["a"]]))
    claimed = await claim(journal)
    later = DriverResult(driver="redis", later_ms=0)
    vectors = encode_vectors({0: b"1234"})
    await journal.settle(claimed, [Settlement(eid=first, results=[later], vectors=vectors)])
    assert await journal.claim("store.redis", "b") is None, "not before its time"
    await asyncio.sleep(0.01)
    swept = sweeper.sweep("s", gate_ms=1)
    assert swept is not None
    assert swept.moved == [("store.redis", first)]
    again = await journal.claim("store.redis", "b")
    assert again is not None
    assert again.envelopes[0].vectors == {0: b"1234"}
    await journal.settle(again, [applied(first)])
    assert await due(journal) == {}
    job = await read_job(journal, "ns", str(JobId(first, 1)))
    assert job is not None
    assert job.status == "stored"


async def test_a_lease_that_ran_out_is_swept_once_and_claimed_in_smaller_parts(
    journal: Journal, sweeper: ThreadJournal
) -> None:
    firsts = await enter(journal, unit([["a"]]), unit([["b"]]))
    lost = await claim(journal, "dead")
    assert len(lost.envelopes) == 2, "both are taken along"
    await asyncio.sleep(0.25)
    moved = [sweeper.sweep(f"s{i}", gate_ms=1) for i in range(1)]
    await asyncio.sleep(0.01)
    moved.append(sweeper.sweep("t", gate_ms=1))
    assert [swept.expired for swept in moved if swept] == [2, 0], "taking re-scores"
    alone = [await claim(journal, "x"), await claim(journal, "y")]
    assert sorted(c.eids[0] for c in alone) == sorted(firsts)
    assert [len(c.envelopes) for c in alone] == [1, 1]
    assert [c.envelopes[0].attempts for c in alone] == [2, 2]


async def test_what_kills_workers_is_alone_after_a_few_claims_and_spreads_to_nothing_new(
    journal: Journal, sweeper: ThreadJournal
) -> None:
    old = await enter(journal, *(unit([[f"old-{i}"]]) for i in range(9)))
    sizes = []
    for generation in range(3):
        new = await enter(journal, unit([[f"new-{generation}"]]))
        claims: list[Claim] = []
        while (claimed := await journal.claim(QUEUE, f"{generation}-{len(claims)}")) is not None:
            claims.append(claimed)
        again = [c for c in claims if set(c.eids) & set(old)]
        assert all(set(c.eids) <= set(old) for c in again if generation > 0), (
            "a new one was mixed in"
        )
        sizes.append([len(c.eids) for c in again])
        for claimed in claims:
            if set(claimed.eids) & set(new):
                await journal.settle(claimed, [applied(eid) for eid in new])
        await asyncio.sleep(0.25)
        sweeper.sweep(str(generation), gate_ms=1)
    assert sizes == [[10], [3, 3, 3], [1] * 9]


async def test_a_frozen_worker_cannot_settle_what_another_took(
    journal: Journal, sweeper: ThreadJournal
) -> None:
    [first] = await enter(journal, unit([["a"]]))
    frozen = await claim(journal, "frozen")
    await asyncio.sleep(0.25)
    sweeper.sweep("s", gate_ms=1)
    other = await claim(journal, "other")
    assert (await journal.settle(frozen, [applied(first)])).lost == [first]
    assert await due(journal) != {}, "still open"
    assert (await journal.settle(other, [applied(first)])).lost == []
    assert await due(journal) == {}


async def test_a_renewed_lease_does_not_run_out(journal: Journal, sweeper: ThreadJournal) -> None:
    await enter(journal, unit([["a"]]))
    held = await claim(journal, "alive")
    for _ in range(4):
        await asyncio.sleep(0.1)
        assert sweeper.renew(QUEUE, held.token, held.eids) == 1
        swept = sweeper.sweep("s", gate_ms=1)
        assert swept is not None
        assert swept.expired == 0
    assert sweeper.renew(QUEUE, "another", held.eids) == 0


async def test_only_one_of_many_sweepers_sweeps(sweeper: ThreadJournal, journal: Journal) -> None:
    swept = [sweeper.sweep(f"s{i}", gate_ms=5_000) for i in range(5)]
    assert sum(answer is not None for answer in swept) == 1


async def test_namespaces_take_turns(journal: Journal) -> None:
    flood = [unit([[f"f{i}-{j}" for j in range(512)]], namespace="flood") for i in range(4)]
    await enter(journal, *flood, unit([["single"]], namespace="chat"))
    order = [(await claim(journal, str(i))).namespace for i in range(5)]
    assert order == ["flood", "chat", "flood", "flood", "flood"]


async def test_a_claim_takes_along_at_most_512_memories_of_one_source(journal: Journal) -> None:
    small = [unit([[f"{i}-{j}" for j in range(100)]]) for i in range(7)]
    await enter(journal, *small, unit([["other"]], source="notes"))
    sizes = []
    for i in range(3):
        claimed = await claim(journal, str(i))
        sizes.append((claimed.source, sum(len(e.writes) for e in claimed.envelopes)))
    assert sizes == [("default", 500), ("default", 200), ("notes", 1)]


async def test_versions_are_contiguous_and_never_handed_out_twice(journal: Journal) -> None:
    answers = await asyncio.gather(*(enter(journal, unit([["a", "b", "c"]])) for _ in range(50)))
    firsts = sorted(first for [first] in answers)
    assert all(later - earlier >= 3 for earlier, later in pairwise(firsts))


async def test_versions_go_on_from_the_last_one_when_the_clock_is_behind(journal: Journal) -> None:
    ahead = 2**52
    await journal.client.set(f"{PREFIX}ver", ahead)
    [first] = await enter(journal, unit([["a"]]))
    assert first == ahead + 1


async def test_a_journal_that_lost_everything_still_counts_upwards(journal: Journal) -> None:
    [before] = await enter(journal, unit([["a"] * 500]))
    await journal.client.flushdb()
    [after] = await enter(journal, unit([["a"]]))
    assert after > before


async def test_requests_that_shared_an_envelope_have_jobs_of_their_own(journal: Journal) -> None:
    [first] = await enter(journal, unit([["a"], ["b", "c"], ["d"]]))
    claimed = await claim(journal)
    assert len(claimed.envelopes) == 1
    errors = [(2, "c", "too_long", "no")]
    result = DriverResult(driver="redis", outcomes="aafa", errors=errors)
    await journal.settle(claimed, [Settlement(eid=first, results=[result])])
    jobs = (await list_jobs(journal, "ns", limit=10)).jobs
    assert [(job.total, job.status) for job in jobs] == [
        (1, "stored"),
        (2, "partial"),
        (1, "stored"),
    ]
    [failure] = jobs[1].errors
    assert (failure.id, failure.version, failure.code) == ("c", first + 2, "too_long")


async def test_a_job_may_span_envelopes_and_has_ended_when_the_last_one_has(
    journal: Journal,
) -> None:
    [first] = await enter(journal, unit([[f"m{i}" for i in range(1000)]]))
    id = str(JobId(first, 1000))
    one = await claim(journal, "1")
    await journal.settle(one, [applied(one.eids[0])])
    job = await read_job(journal, "ns", id)
    assert job is not None
    assert (job.status, job.counts["redis"].stored) == ("processing", 512)
    two = await claim(journal, "2")
    await journal.settle(two, [applied(two.eids[0])])
    job = await read_job(journal, "ns", id)
    assert job is not None
    assert (job.status, job.counts["redis"].stored) == ("stored", 1000)


async def test_an_import_is_still_known_when_its_first_envelopes_have_left(
    journal: Journal,
) -> None:
    id = f"{IMPORT_PREFIX}0123"
    firsts = [(await enter(journal, unit([["a", "b"]])))[0] for _ in range(3)]
    for first in firsts:
        await add_to_import(journal, "ns", id, JobId(first, 2))
    one = await claim(journal)
    await journal.settle(one, [applied(eid) for eid in one.eids])
    await journal.client.delete(f"{PREFIX}e:{firsts[0]}")
    await journal.client.zrem(f"{PREFIX}envs:ns", firsts[0])
    job = await read_job(journal, "ns", id)
    assert job is not None
    assert (job.status, job.total, job.counts["redis"].stored) == ("stored", 6, 6)
    assert await read_job(journal, "other", id) is None


async def test_another_namespace_has_no_such_job(journal: Journal) -> None:
    [first] = await enter(journal, unit([["a"]]))
    assert await read_job(journal, "ns", str(JobId(first, 1))) is not None
    assert await read_job(journal, "other", str(JobId(first, 1))) is None
    assert await read_job(journal, "ns", str(JobId(first, 2))) is None
    assert await read_job(journal, "ns", "job_x_y") is None


async def test_success_is_kept_an_hour_failure_a_week_and_the_body_ten_seconds(
    journal: Journal,
) -> None:
    good, bad = await enter(journal, unit([["a"]]), unit([["b"]], source="notes"))
    await journal.settle(await claim(journal, "1"), [applied(good)])
    failed = DriverResult(driver="redis", outcomes="f", errors=[(0, "b", "x", "y")])
    await journal.settle(await claim(journal, "2"), [Settlement(eid=bad, results=[failed])])
    ttl = {
        name: await journal.client.pttl(f"{PREFIX}{name}")
        for name in (f"e:{good}", f"e:{bad}", f"b:{good}")
    }
    assert 3_590_000 < ttl[f"e:{good}"] <= 3_600_000
    assert 6 * 86_400_000 < ttl[f"e:{bad}"] <= 7 * 86_400_000
    assert 0 < ttl[f"b:{good}"] <= 10_000


async def test_what_has_ended_is_kept_up_to_a_bound(
    journal: Journal, sweeper: ThreadJournal
) -> None:
    firsts = await enter(journal, *[unit([[str(number)]]) for number in range(4)])
    for token in "abcd":
        claimed = await journal.claim(QUEUE, token)
        if claimed is not None:
            await journal.settle(claimed, [applied(eid) for eid in claimed.eids])
    sweeper.sweep("s", gate_ms=1, kept=2)
    known = [await read_job(journal, "ns", str(JobId(first, 1))) is not None for first in firsts]
    assert known == [False, False, True, True]
    assert not await journal.client.exists(f"{PREFIX}e:{firsts[0]}")


async def test_the_backlog_counts_what_a_driver_has_not_applied(journal: Journal) -> None:
    drivers = ("redis", "weaviate")
    [first] = await enter(journal, unit([["a", "b"]], drivers=drivers))
    assert await behind(journal, drivers) == {"redis": 2, "weaviate": 2}
    results = [
        DriverResult(driver="redis", outcomes="a"),
        DriverResult(driver="weaviate", later_ms=60_000),
    ]
    await journal.settle(await claim(journal), [Settlement(eid=first, results=results)])
    assert await behind(journal, drivers) == {"redis": 0, "weaviate": 2}


async def test_a_repeated_idempotency_key_gets_the_first_answer(journal: Journal) -> None:
    keyed = unit([["a"]], key="k", body_hash="h")
    [first] = await journal.append([keyed])
    [again] = await journal.append([keyed])
    [other] = await journal.append([unit([["b"]], key="k", body_hash="other")])
    [foreign] = await journal.append([unit([["a"]], namespace="n2", key="k", body_hash="h")])
    assert isinstance(first, Entered)
    assert again == Entered(first.first, b"answer")
    assert isinstance(other, KeyReused)
    assert isinstance(foreign, Entered)
    assert foreign.answer is None
    assert len(await due(journal)) == 2


async def test_an_open_breaker_costs_no_attempt(journal: Journal, sweeper: ThreadJournal) -> None:
    [first] = await enter(journal, unit([["a"]]))
    claimed = await claim(journal)
    await journal.settle(claimed, [Settlement(eid=first, again_ms=0, refund=True)])
    await asyncio.sleep(0.01)
    sweeper.sweep("s", gate_ms=1)
    again = await claim(journal, "b")
    assert again.envelopes[0].attempts == 1


async def test_scripts_leave_no_key_without_the_journals_prefix(journal: Journal) -> None:
    [first] = await enter(journal, unit([["a"]], key="k", body_hash="h"))
    await journal.settle(await claim(journal), [applied(first)])
    keys = [key async for key in journal.client.scan_iter()]
    assert keys
    assert all(key.startswith(PREFIX.encode()) for key in keys), "one slot on Redis Cluster"


async def test_sweeping_an_entry_scores_it_anew(journal: Journal, sweeper: ThreadJournal) -> None:
    await enter(journal, unit([["a"]]), unit([["b"]], source="notes"))
    await claim(journal, "dead")
    await asyncio.sleep(0.25)
    sweeper.sweep("s", gate_ms=1)
    seconds, _ = await journal.client.time()
    assert min((await due(journal)).values()) > 1000 * (seconds + 20), (
        "nothing is due at once again"
    )


async def test_a_connection_that_closes_under_a_write_is_a_journal_that_is_away(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop raises RuntimeError then; a link that is cut does it once in some ten thousand requests."""
    await journal.ping()

    def closed(self: asyncio.StreamWriter, data: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    with monkeypatch.context() as patched, pytest.raises(Unavailable):
        patched.setattr(asyncio.StreamWriter, "writelines", closed)
        await journal.ping()
    await journal.ping()


async def test_the_first_calls_after_a_restart_of_the_journal_succeed(
    redis_server_factory: Callable[..., RedisServer],
) -> None:
    server = redis_server_factory()
    journal, thread = Journal(server.url), ThreadJournal(server.url)
    await asyncio.gather(*(journal.ping() for _ in range(8)))
    assert thread.sweep("before", gate_ms=1) is not None
    server.kill()
    server.start()
    await asyncio.sleep(0.1)
    for _ in range(8):
        await journal.ping()
    assert thread.sweep("after", gate_ms=1) is not None
    thread.close()
    await journal.close()


async def test_write_that_expects_another_version_is_not_entered(journal: Journal) -> None:
    [first] = await enter(journal, noting(["a", "b"], {"a": 0, "b": 0}))
    assert await journal.noted("ns", "default", ["a", "b", "c"]) == {
        "a": first,
        "b": first + 1,
        "c": 0,
    }
    for expects in ({"a": 0}, {"a": first, "b": first}, {"c": 1}, {"c": -1}):
        [answer] = await journal.append([noting(["a"], expects)])
        assert isinstance(answer, Changed), expects
    assert await journal.noted("ns", "default", ["a"]) == {"a": first}
    [second] = await enter(journal, noting(["a"], {"a": first, "b": first + 1}))
    assert await journal.noted("ns", "default", ["a"]) == {"a": second}
    other = noting(["a"], {"a": 0}, source="docs"), noting(["a"], {"a": 0}, namespace="other")
    await enter(journal, *other)


async def test_repeated_request_is_answered_whatever_it_expects(journal: Journal) -> None:
    once = noting(["a"], {"a": 0}, key="k", body_hash="h")
    first, again = await journal.append([once, once])
    assert isinstance(first, Entered)
    assert again == Entered(first.first, b"answer")


async def test_version_is_noted_until_a_minute_after_its_envelope_has_ended(
    journal: Journal,
) -> None:
    [first] = await enter(journal, noting(["a", "b"], drivers=("redis", "weaviate")))
    claimed = await claim(journal)
    done, later = (
        DriverResult(driver="redis", outcomes="a"),
        DriverResult(driver="weaviate", later_ms=0),
    )
    await journal.settle(claimed, [Settlement(eid=first, results=[done, later])])
    key = f"{PREFIX}last:ns|default"
    assert await journal.client.hpttl(key, "a", "b") == [-1, -1], "weaviate has not ended it"
    [second] = await enter(journal, noting(["b"]))
    older = await claim(journal, "b")
    [third] = await enter(journal, noting(["b"]))
    await journal.settle(older, [applied(second)])
    assert await journal.client.hpttl(key, "b") == [-1], (
        "a write that waits is noted without an end"
    )
    [fourth] = await enter(journal, noting(["a", "c"]))
    await journal.settle(await claim(journal, "c"), [applied(third), applied(fourth)])
    [a, c] = await journal.client.hpttl(key, "a", "c")
    assert 50_000 < a <= 60_000
    assert 50_000 < c <= 60_000
    noted = await journal.noted("ns", "default", ["a", "b", "c"])
    assert noted == {"a": fourth, "b": third, "c": fourth + 1}
    job = await read_job(journal, "ns", str(JobId(fourth + 1, 1)))
    assert job is not None
    assert job.status == "stored"
