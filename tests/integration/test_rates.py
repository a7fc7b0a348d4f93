"""Rates and totals, counted by the journal's scripts on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from backends.journal import (
    Burial,
    Claim,
    DriverResult,
    Journal,
    Put,
    Settlement,
    ThreadJournal,
    Unit,
    encode_vectors,
    encode_write,
)
from backends.journal.dead import Selection, replay
from backends.journal.journal import PREFIX
from backends.journal.rates import MINUTES, Minute, rates
from backends.journal.totals import totals
from backends.journal.usage import clock
from memrelay.batching import pack

QUEUE = "deliver.interactive"


def unit(
    ids: Sequence[str], *, drivers: Sequence[str] = ("redis",), key: str = "", ns: str = "ns"
) -> Unit:
    writes = [
        encode_write(Put(id, f"text of {id}", None, None, (), {}, 1, None, None)) for id in ids
    ]
    drafts = pack([(writes, (), ())])
    return Unit(
        namespace=ns,
        source="default",
        queue=QUEUE,
        drivers=drivers,
        drafts=drafts,
        key=key,
        body_hash=key,
        answer=b"answer" if key else b"",
    )


async def claim(journal: Journal, queue: str = QUEUE) -> Claim:
    claimed = await journal.claim(queue, "a")
    assert claimed is not None
    return claimed


def ended(claimed: Claim, *letters: str, dead: Sequence[Burial] = ()) -> list[Settlement]:
    """Each of the claim's drivers has these outcomes for its only envelope."""
    results = [
        DriverResult(driver=driver, outcomes=outcomes)
        for driver, outcomes in zip(claimed.drivers, letters, strict=True)
    ]
    return [Settlement(eid=claimed.eids[0], results=results, dead=dead)]


def burial(claimed: Claim, position: int, code: str = "refused") -> Burial:
    envelope = claimed.envelopes[0]
    return Burial(
        version=envelope.version(position),
        id=envelope.writes[position].id,
        stage="store",
        code=code,
        detail="no",
        drivers=["redis"],
        attempts=1,
        payload=encode_write(envelope.writes[position]),
    )


async def counted(journal: Journal, ns: str = "ns") -> tuple[int, int, int]:
    """Accepted, stored and failed in the last two minutes: one may end while a test runs."""
    found = await rates(journal, ns, 2)
    return (
        sum(minute.accepted for minute in found),
        sum(minute.stored for minute in found),
        sum(minute.failed for minute in found),
    )


async def test_a_minute_says_what_was_accepted_stored_and_given_up_and_how_long_it_took(
    journal: Journal,
) -> None:
    await journal.append([unit(["a", "b", "c"])])
    claimed = await claim(journal)
    await journal.settle(claimed, ended(claimed, "aaf", dead=[burial(claimed, 2)]))
    assert await counted(journal) == (3, 2, 1)
    took = [minute.searchable_ms for minute in await rates(journal, "ns", 2)]
    [found] = [percentiles for percentiles in took if percentiles is not None]
    assert 0 < found.p50 <= found.p95
    assert await counted(journal, "another") == (0, 0, 0)


async def test_minutes_come_oldest_first_without_gaps(journal: Journal) -> None:
    found = await rates(journal, "ns", 60)
    assert [later.at - earlier.at for earlier, later in pairwise(found)] == [60_000] * 59
    assert found[0] == Minute(at=found[0].at)
    assert len(await rates(journal, "ns", 10_000)) == MINUTES


async def test_a_repeated_request_counts_once(journal: Journal) -> None:
    for _ in range(3):
        await journal.append([unit(["a"], key="same")])
    assert (await counted(journal))[0] == 1


async def test_what_is_delivered_twice_counts_once(
    journal: Journal, sweeper: ThreadJournal
) -> None:
    await journal.append([unit(["a"])])
    frozen = await claim(journal)
    await asyncio.sleep(0.25)
    assert sweeper.sweep("s", gate_ms=1) is not None
    again = await journal.claim(QUEUE, "b")
    assert again is not None
    await journal.settle(again, ended(again, "a"))
    settled = await journal.settle(frozen, ended(frozen, "a"))
    assert settled.lost == frozen.eids
    assert await counted(journal) == (1, 1, 0)
    assert (await totals(journal))["leases"] == 1


async def test_stored_is_what_the_first_driver_has_that_is_not_away(journal: Journal) -> None:
    drivers = ("redis", "sqlite")
    await journal.append([unit(["a"], drivers=drivers)])
    claimed = await claim(journal)
    results = [
        DriverResult(driver="redis", later_ms=0),
        DriverResult(driver="sqlite", outcomes="a"),
    ]
    vectors = encode_vectors({0: b"1234"})
    await journal.settle(
        claimed, [Settlement(eid=claimed.eids[0], results=results, vectors=vectors)]
    )
    assert await counted(journal) == (1, 0, 0), "the primary has not taken it"
    await journal.client.hset(f"{PREFIX}detached", "redis", "away")
    await journal.append([unit(["b"], drivers=drivers)])
    claimed = await claim(journal)
    results = [
        DriverResult(driver="redis", outcomes="n", skip=True),
        DriverResult(driver="sqlite", outcomes="a"),
    ]
    await journal.settle(claimed, [Settlement(eid=claimed.eids[0], results=results)])
    assert await counted(journal) == (2, 1, 0)
    known = await totals(journal)
    assert known["retried|redis"] == 1
    assert (known["ended|sqlite|a"], known["ended|redis|n"]) == (2, 1)


async def test_a_replay_is_stored_without_a_time_of_its_own(journal: Journal) -> None:
    await journal.append([unit(["a"])])
    claimed = await claim(journal)
    await journal.settle(claimed, ended(claimed, "f", dead=[burial(claimed, 0)]))
    await replay(journal, "ns", Selection(), limit=10)
    again = await claim(journal)
    await journal.settle(again, ended(again, "a"))
    assert await counted(journal) == (1, 1, 1)
    assert [m.searchable_ms for m in await rates(journal, "ns", 2)] == [None, None]


async def test_causes_beyond_the_bound_are_counted_as_one(journal: Journal) -> None:
    await journal.client.hset(f"{PREFIX}totals", mapping={f"x|{i}": 1 for i in range(2000)})
    await journal.append([unit(["a"])])
    claimed = await claim(journal)
    await journal.settle(claimed, ended(claimed, "f", dead=[burial(claimed, 0, "strange")]))
    known = await totals(journal)
    assert known["dead|other"] == 1
    assert "dead|strange" not in known


async def test_minutes_are_bounded_and_the_oldest_of_all_namespaces_go_first(
    journal: Journal,
) -> None:
    now = await clock(journal) // 60_000_000
    old = {f"{PREFIX}minute:old:{n}": now - 1000 + n // 100 for n in range(100_000)}
    await journal.client.zadd(f"{PREFIX}minutes", old)
    await journal.client.hset(f"{PREFIX}minute:old:0", "a", 1)
    await journal.append([unit(["a"])])
    assert await journal.client.zcard(f"{PREFIX}minutes") <= 100_000
    assert not await journal.client.exists(f"{PREFIX}minute:old:0")
    [key] = await journal.client.keys(f"{PREFIX}minute:ns:*")
    assert 0 < await journal.client.ttl(key) <= 60 * MINUTES


async def test_what_a_worker_counts_comes_along_when_it_settles(journal: Journal) -> None:
    await journal.append([unit(["a"])])
    claimed = await claim(journal)
    await journal.settle(claimed, ended(claimed, "a"), counts={"embedded|calls": 3})
    assert (await totals(journal))["embedded|calls"] == 3
