"""What is canceled: never claimed, never stored, accounted for; on a real journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.journal import (
    DriverResult,
    Drop,
    Entered,
    Journal,
    Settlement,
    Unit,
    encode_write,
)
from backends.journal.accounts import Account, accounts
from backends.journal.cancel import MEMORIES, RANGES, cancel, canceled
from backends.journal.dead import Selection, replay
from backends.journal.joblist import JobFilter, list_jobs
from backends.journal.journal import PREFIX
from backends.journal.usage import Usage, usage
from memrelay.batching import pack
from memrelay.errors import Permanent, Unavailable
from memrelay.jobs import JobId, JobStatus
from memrelay.testing.faulty import Fault
from tests.bench import NAMESPACE, Bench
from tests.integration.test_journal import QUEUE, applied, claim, due, enter, noting, put, unit
from workers.deliver import work

WAITING = JobFilter(waiting=True)


@pytest.fixture
def bench(journal_url: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(journal_url, tmp_path)
    yield bench
    bench.close()


async def ended(journal: Journal, *ids: JobId) -> list[int]:
    return await cancel(journal, "ns", ids)


async def status(journal: Journal, first: int, count: int = 1) -> JobStatus:
    [job] = (await list_jobs(journal, "ns", JobFilter(after=first), below=first + 1, limit=1)).jobs
    assert (job.id, job.total) == (str(JobId(first, count)), count)
    return job.status


async def account(journal: Journal, driver: str = "redis") -> Account:
    return (await accounts(journal, "ns", "default", [driver]))[driver]


async def left(journal: Journal) -> dict[str, Any]:
    """All that there is of open envelopes."""
    client = journal.client
    return {
        "due": await due(journal),
        "open": await client.zcard(f"{PREFIX}open"),
        "queues": await client.keys(f"{PREFIX}w:*"),
        "waiting": int(await client.hget(f"{PREFIX}waiting", QUEUE) or 0),
        "backlog": int(await client.hget(f"{PREFIX}backlog", "redis") or 0),
        "usage": await usage(journal, "ns"),
    }


async def test_canceled_job_leaves_nothing_to_do_and_is_accounted_for(journal: Journal) -> None:
    [first] = await enter(journal, unit([[f"m{n}" for n in range(700)]]))
    assert await ended(journal, JobId(first, 700)) == [700]
    assert await left(journal) == {
        "due": {},
        "open": 0,
        "queues": [],
        "waiting": 0,
        "backlog": 0,
        "usage": Usage(0, 0),
    }
    assert await status(journal, first, 700) == "canceled"
    told = await account(journal)
    assert (told.accepted, told.canceled, told.in_flight, told.balanced) == (700, 700, 0, True)
    assert await journal.claim(QUEUE, "a") is None
    assert await ended(journal, JobId(first, 700)) == [0], "once is enough"


async def test_what_a_worker_has_claimed_is_not_canceled(journal: Journal) -> None:
    [first] = await enter(journal, unit([["a"]]))
    claimed = await claim(journal)
    assert await ended(journal, JobId(first, 1)) == [0]
    await journal.settle(claimed, [applied(first)])
    assert await status(journal, first) == "stored"
    assert (await account(journal)).canceled == 0


def test_what_was_claimed_once_and_waits_again_is_not_canceled(bench: Bench) -> None:
    """A worker that died may have stored it."""
    first = bench.put("x")
    bench.die()
    assert bench.run(cancel(bench.journal, NAMESPACE, [JobId(first, 1)])) == [0]
    bench.work()
    assert bench.job(first).status == "stored"


async def test_what_one_driver_has_still_to_store_is_not_canceled(journal: Journal) -> None:
    [first] = await enter(journal, unit([["a"]], drivers=("redis", "weaviate")))
    later = DriverResult(driver="redis", later_ms=0)
    results = [later, DriverResult(driver="weaviate", outcomes="a")]
    await journal.settle(await claim(journal), [Settlement(eid=first, results=results)])
    assert await ended(journal, JobId(first, 1)) == [0]
    assert list(await due(journal)) == [f"{first}/store.redis"]


async def test_job_partly_begun_is_canceled_as_far_as_it_was_not(journal: Journal) -> None:
    [first] = await enter(journal, unit([[f"m{n}" for n in range(1000)]]))
    claimed = await claim(journal)
    [count] = await ended(journal, JobId(first, 1000))
    assert count == 1000 - sum(len(envelope.writes) for envelope in claimed.envelopes)
    assert await status(journal, first, 1000) == "processing"
    await journal.settle(claimed, [applied(eid) for eid in claimed.eids])
    [job] = (await list_jobs(journal, "ns", limit=1)).jobs
    counts = job.counts["redis"]
    assert (job.status, counts.stored, counts.canceled) == ("partial", 1000 - count, count)


def test_neighbours_in_the_envelope_of_a_canceled_job_are_stored(bench: Bench) -> None:
    shared = unit([["x"], ["y", "z"], ["w"]], drivers=("a", "b"))
    [answer] = bench.run(bench.journal.append([shared]))
    first = answer.first
    assert bench.run(cancel(bench.journal, NAMESPACE, [JobId(first + 1, 2)])) == [2]
    assert bench.job(first + 1, 2).status == "canceled"
    assert bench.job(first).status == "accepted"
    bench.fails("b", Fault(error=Unavailable("down")))
    bench.work()
    for driver in "ab":
        assert bench.held(driver, *"xyzw").keys() == {"x", "w"}
        told = bench.run(accounts(bench.journal, NAMESPACE, "default", [driver]))[driver]
        assert (told.applied, told.canceled, told.balanced) == (2, 2, True)
    assert [bench.job(first + at).status for at in (0, 3)] == ["stored", "stored"]
    assert bench.job(first + 1, 2).status == "canceled"
    assert bench.run(usage(bench.journal, NAMESPACE)) == Usage(0, 0)


def test_older_write_of_an_id_is_stored_when_the_newer_one_is_canceled(
    bench: Bench,
) -> None:
    shared = unit([["x"], ["x"], ["y"]], drivers=("a", "b"))
    [answer] = bench.run(bench.journal.append([shared]))
    bench.run(cancel(bench.journal, NAMESPACE, [JobId(answer.first + 1, 1)]))
    bench.work()
    assert bench.held("a", "x")["x"].version == answer.first


def test_canceled_memory_under_a_delete_by_filter_stays_canceled(bench: Bench) -> None:
    shared = unit([["x"], ["y"]], drivers=("a", "b"))
    [answer] = bench.run(bench.journal.append([shared]))
    bench.run(cancel(bench.journal, NAMESPACE, [JobId(answer.first, 1)]))
    taken = bench.claim()
    assert taken is not None
    bench.drop_where({"id": {"$in": ["x", "y"]}})
    bench.run(work(bench.room, taken))
    bench.work()
    assert bench.held("a", "x", "y") == {}
    assert bench.job(answer.first).status == "canceled"


async def test_deletes_are_not_canceled_even_beside_writes_that_are(journal: Journal) -> None:
    """Reads leave out what was deleted since that was accepted: there is no way back."""
    writes = [put("a"), put("b")], [encode_write(Drop("c"))]
    drafts = pack([(writes[0], (), ()), (writes[1], ["c"], ())])
    [first] = await enter(journal, replace(unit([]), drafts=drafts))
    assert await ended(journal, JobId(first, 2), JobId(first + 2, 1)) == [2, 0]
    assert (await journal.hidden("ns", "default", "redis", ["c"])).entries.keys() == {"c"}
    claimed = await claim(journal)
    assert claimed.eids == [first]


async def test_jobs_that_wait_are_canceled_across_many_calls(journal: Journal) -> None:
    count = 2 * RANGES + 1
    await enter(journal, *(unit([[f"m{n}"]], key=f"k{n}", body_hash="h") for n in range(count)))
    page = await list_jobs(journal, "ns", WAITING, limit=500)
    ids = [JobId.parse(job.id) for job in page.jobs]
    counts = await cancel(journal, "ns", [id for id in ids if id is not None])
    assert counts == [1] * count
    assert (await list_jobs(journal, "ns", WAITING, limit=500)).jobs == []
    assert await due(journal) == {}


@pytest.mark.parametrize("chosen", [range(1, 100, 2), range(40), range(60, 100), range(30, 70)])
async def test_what_waits_among_many_canceled_ones_stays_in_order(
    journal: Journal, chosen: range
) -> None:
    waiting = [unit([[f"m{n}"]], key=f"k{n}", body_hash="h") for n in range(100)]
    firsts = await enter(journal, *waiting)
    gone = [firsts[n] for n in reversed(chosen)]
    assert await ended(journal, *(JobId(first, 1) for first in gone)) == [1] * len(gone)
    claimed = await claim(journal)
    assert claimed.eids == [first for first in firsts if first not in gone]


async def calls_of(journal: Journal) -> dict[str, int]:
    """How often the journal's Redis has executed each command, from scripts too."""
    stats: Any = await journal.client.info("commandstats")
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}


@pytest.mark.parametrize("newest_first", [True, False])
async def test_many_versions_of_one_id_are_canceled_without_a_look_at_all_for_each(
    journal: Journal, newest_first: bool
) -> None:
    """The journal answers nobody else while it cancels."""
    jobs = [JobId(first, 512) for _ in range(20) for first in await enter(journal, same())]
    before = await calls_of(journal)
    counts = await ended(journal, *(reversed(jobs) if newest_first else jobs))
    after = await calls_of(journal)
    assert counts == [512] * 20
    for command in ("hget", "hmget", "zrevrangebyscore"):
        asked = after.get(command, 0) - before.get(command, 0)
        assert asked < 20 * 512 / 2, f"{command}: some of them are of others on that server"


def same() -> Unit:
    return noting(["a"] * 512)


async def test_no_call_cancels_more_than_the_others_can_wait_for(journal: Journal) -> None:
    jobs = [JobId(first, 512) for _ in range(20) for first in await enter(journal, same())]
    before = (await calls_of(journal))["evalsha"]
    assert await ended(journal, *jobs) == [512] * 20
    assert (await calls_of(journal))["evalsha"] - before >= 20 * 512 / MEMORIES


async def test_what_an_earlier_release_accepted_is_not_canceled(journal: Journal) -> None:
    """It did not say which writes are deletes, and those must go on."""
    drafts = pack([([encode_write(Drop("a"))], ["a"], ())])
    [first] = await enter(journal, replace(unit([]), drafts=drafts))
    await journal.client.hdel(f"{PREFIX}e:{first}", "del")
    assert (await list_jobs(journal, "ns", WAITING, limit=1)).jobs == []
    assert await ended(journal, JobId(first, 1)) == [0]
    claimed = await claim(journal)
    assert claimed.eids == [first]


async def test_what_a_write_took_the_place_of_is_forgotten_once_it_cannot_be_canceled(
    journal: Journal,
) -> None:
    """Envelopes are kept for an hour after they have ended, and there are many of them."""
    firsts = [first for _ in range(2) for first in await enter(journal, noting(["a"]))]
    claimed = await claim(journal)
    assert await journal.client.hexists(f"{PREFIX}e:{firsts[1]}", "over")
    await journal.settle(claimed, [applied(first) for first in firsts])
    assert not await journal.client.hexists(f"{PREFIX}e:{firsts[1]}", "over")


async def test_other_namespaces_take_their_turn_when_one_is_canceled(journal: Journal) -> None:
    [mine, other] = await enter(journal, unit([["a"]]), unit([["b"]], namespace="other"))
    assert await cancel(journal, "other", [JobId(mine, 1)]) == [0], "it is not theirs"
    assert await ended(journal, JobId(mine, 1)) == [1]
    claimed = await claim(journal)
    assert (claimed.namespace, claimed.eids) == ("other", [other])


async def test_repeated_request_is_answered_with_the_job_that_was_canceled(
    journal: Journal,
) -> None:
    once = unit([["a"]], key="k", body_hash="h")
    [first] = await enter(journal, once)
    await ended(journal, JobId(first, 1))
    assert await journal.append([once]) == [Entered(first, b"answer")]
    assert await status(journal, first) == "canceled"


async def noted(journal: Journal, id: str = "a") -> int:
    return (await journal.noted("ns", "default", [id]))[id]


async def test_write_before_the_canceled_one_is_the_last_again(journal: Journal) -> None:
    [first] = await enter(journal, noting(["a"]))
    [second] = await enter(journal, noting(["a"]))
    [third] = await enter(journal, noting(["a"]))
    await ended(journal, JobId(second, 1))
    assert await noted(journal) == third
    await ended(journal, JobId(third, 1))
    assert await noted(journal) == first
    assert await journal.client.hpttl(f"{PREFIX}last:ns|default", "a") == [-1]


async def test_last_version_stays_noted_for_a_while_when_none_before_it_waits(
    journal: Journal,
) -> None:
    """Who looked before it came must not take it for never having come: another may have ended meanwhile."""
    [first] = await enter(journal, noting(["a"]))
    await journal.settle(await claim(journal), [applied(first)])
    [second] = await enter(journal, noting(["a"]))
    await ended(journal, JobId(second, 1))
    assert await noted(journal) == second
    [left_ms] = await journal.client.hpttl(f"{PREFIX}last:ns|default", "a")
    assert 0 < left_ms <= 60_000


async def test_who_waits_for_a_job_is_woken_when_it_is_canceled(journal: Journal) -> None:
    [first] = await enter(journal, unit([["a"]]))
    await journal.client.sadd(f"{PREFIX}wt:{first}", "channel")
    async with journal.client.pubsub() as heard:
        await heard.subscribe("channel")
        assert await heard.get_message(timeout=60) is not None, "subscribed"
        await ended(journal, JobId(first, 1))
        message = await heard.get_message(ignore_subscribe_messages=True, timeout=60)
    assert message is not None
    assert int(message["data"]) == first


async def test_versions_that_were_canceled_are_remembered_as_ranges(journal: Journal) -> None:
    [first] = await enter(journal, unit([["a"], ["b", "c"], ["d"], ["e"]]))
    await ended(journal, JobId(first + 1, 2), JobId(first + 4, 1))
    known = await canceled(journal, "ns", "default")
    assert [first + at in known for at in range(-1, 6)] == [
        False,
        False,
        True,
        True,
        False,
        True,
        False,
    ]


def test_replay_is_not_canceled(bench: Bench) -> None:
    """It would be neither a dead letter any more nor stored."""
    bench.put("x")
    bench.fails("a", Fault(error=Permanent("no")))
    bench.work()
    replayed = bench.run(replay(bench.journal, NAMESPACE, Selection(), limit=10))
    assert bench.run(cancel(bench.journal, NAMESPACE, [replayed.job])) == [0]
    bench.work()
    assert bench.held("a", "x").keys() == {"x"}
