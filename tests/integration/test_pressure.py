"""What the journal refuses to take in, on a real Redis; and what it knows of those who work on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from backends.journal import (
    DriverResult,
    Drop,
    Entered,
    Full,
    Journal,
    Limits,
    Put,
    Settlement,
    ThreadJournal,
    Unit,
    encode_write,
)
from backends.journal.journal import PREFIX
from backends.journal.locks import Busy, Locks
from backends.journal.pulse import STALLED_SECONDS, pulse
from memrelay.batching import pack
from memrelay.embedded.ports import free_port
from memrelay.errors import Unavailable
from memrelay.jobs import MAINTENANCE
from workers.health import check

QUEUE = "deliver.bulk"


@pytest.fixture
async def clean(journal_url: str) -> AsyncIterator[str]:
    journal = Journal(journal_url)
    await journal.client.flushdb()
    yield journal_url
    await journal.close()


async def enter(
    journal: Journal, count: int, *, namespace: str = "ns", size: int = 10, key: str = ""
) -> Entered | Full:
    writes = [
        encode_write(Put(str(number), "x" * size, None, None, (), {}, 1, None, None))
        for number in range(count)
    ]
    unit = Unit(
        namespace=namespace,
        source="default",
        queue=QUEUE,
        drivers=["redis"],
        drafts=pack([(writes, (), ())]),
        key=key,
        body_hash="hash",
        answer=b"answer",
    )
    [answer] = await journal.append([unit])
    assert isinstance(answer, Entered | Full)
    return answer


async def test_beyond_the_services_bound_nothing_is_entered(clean: str) -> None:
    journal = Journal(clean, limits=Limits(memories=10))
    assert isinstance(await enter(journal, 8), Entered)
    refused = await enter(journal, 3, namespace="another")
    assert isinstance(refused, Full)
    assert refused.retry_after is not None
    assert refused.retry_after >= 1
    assert isinstance(await enter(journal, 2), Entered)
    assert await journal.client.hget(f"{PREFIX}use", "memories") == b"10"
    await journal.close()


async def test_one_namespace_at_its_bound_leaves_the_others_theirs(clean: str) -> None:
    journal = Journal(clean, limits=Limits(namespace_bytes=1000))
    assert isinstance(await enter(journal, 1, size=700), Entered)
    assert isinstance(await enter(journal, 1, size=700), Full)
    assert isinstance(await enter(journal, 1, size=700, namespace="another"), Entered)
    await journal.close()


async def test_what_was_entered_is_answered_again_even_when_all_is_full(clean: str) -> None:
    journal = Journal(clean, limits=Limits(memories=10))
    first = await enter(journal, 10, key="k")
    again = await enter(journal, 10, key="k")
    assert isinstance(first, Entered)
    assert isinstance(again, Entered)
    assert again.first == first.first
    await journal.close()


async def test_a_namespace_that_writes_faster_than_its_quota_is_told_when_to_come_back(
    clean: str,
) -> None:
    journal = Journal(clean, limits=Limits(rate=10))
    assert isinstance(await enter(journal, 100), Entered), "ten seconds' worth at once"
    refused = await enter(journal, 20)
    assert isinstance(refused, Full)
    assert refused.retry_after is not None and 0 < refused.retry_after <= 3
    assert isinstance(await enter(journal, 100, namespace="another"), Entered)
    await asyncio.sleep(0.3)
    assert isinstance(await enter(journal, 2), Entered)
    await journal.close()


async def test_a_delete_is_never_refused(clean: str) -> None:
    journal = Journal(clean, limits=Limits(memories=10))
    assert isinstance(await enter(journal, 10), Entered)
    [answer] = await journal.append(
        [
            Unit(
                namespace="ns",
                source="default",
                queue=QUEUE,
                drivers=["redis"],
                drafts=pack([([encode_write(Drop("1"))], ["1"], ())]),
            )
        ]
    )
    assert isinstance(answer, Entered)
    await journal.close()


async def test_what_has_ended_makes_room(clean: str) -> None:
    journal = Journal(clean, limits=Limits(memories=10))
    entered = await enter(journal, 10)
    assert isinstance(entered, Entered)
    assert isinstance(await enter(journal, 1), Full)
    claim = await journal.claim(QUEUE, "t")
    assert claim is not None
    result = DriverResult(driver="redis", outcomes="a")
    await journal.settle(claim, [Settlement(eid=entered.first, results=[result])])
    use = await journal.client.hgetall(f"{PREFIX}use")
    assert set(use.values()) == {b"0"}
    assert isinstance(await enter(journal, 10), Entered)
    await journal.close()


async def test_a_lock_has_one_holder_until_it_is_given_back(clean: str) -> None:
    journal = Journal(clean, lease_ms=10_000)
    locks = Locks(journal)
    async with locks.hold("l", "one"):
        with pytest.raises(Busy):
            async with locks.hold("l", "two", wait=0.05):
                pass
    async with locks.hold("l", "two", wait=0):
        pass
    await journal.close()


async def test_a_lock_is_not_given_back_while_a_call_may_still_be_going_on(clean: str) -> None:
    journal = Journal(clean, lease_ms=2_000)
    locks = Locks(journal)
    with pytest.raises(Unavailable):
        async with locks.hold("l", "one"):
            raise Unavailable("no answer", code="timeout")
    with pytest.raises(Busy):
        async with locks.hold("l", "two", wait=0):
            pass
    async with locks.hold("l", "two", wait=30):
        pass
    await journal.close()


async def test_a_worker_is_healthy_while_it_beats_and_what_waits_gets_on(clean: str) -> None:
    journal = Journal(clean)
    thread = ThreadJournal(clean)
    with pytest.raises(Unavailable, match="no worker of here"):
        await check(clean, "here")
    thread.beat("here", 1, [QUEUE])
    await check(clean, "here")
    assert (await pulse(journal)).alive == ["here:1"]
    await enter(journal, 1)
    thread.sweep("t")
    await check(clean, "here")
    now_ms = 1000 * (await journal.client.time())[0]
    long_ago = now_ms - 1000 * int(STALLED_SECONDS + 10)
    await journal.client.hset(f"{PREFIX}since", QUEUE, str(long_ago))
    with pytest.raises(Unavailable, match=QUEUE):
        await check(clean, "here")
    thread.beat("there", 1, [MAINTENANCE])
    await check(clean, "there")  # that queue is not its own
    await journal.client.hset(f"{PREFIX}progress", QUEUE, str(now_ms))
    await check(clean, "here")
    thread.leave("here", 1)
    with pytest.raises(Unavailable):
        await check(clean, "here")
    thread.close()
    await journal.close()


async def test_a_worker_is_not_restarted_for_a_journal_that_is_away() -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    with pytest.raises(Unavailable):
        await check(nobody, "here")
    await check(nobody, "here", liveness=True)
