from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from msgspec.structs import replace

from api.commit import Entry, GroupCommit
from backends.journal import Entered, KeyReused, Unit
from memrelay.errors import Unavailable


class Appended:
    """Where a group commit enters its units: versions count up from 1, one for each write.

    While ``gate`` is closed an append waits. A key is answered as the journal's script does.
    """

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.calls: list[list[Unit]] = []
        self.announced: list[tuple[str, int]] = []
        self.error: Exception | None = None
        self._last = 0
        self._known: dict[str, tuple[str, int, bytes]] = {}

    async def append(self, units: Sequence[Unit]) -> Sequence[Entered | KeyReused]:
        self.calls.append(list(units))
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return [self._enter(unit) for unit in units]

    def announce(self, queue: str, envelope: int) -> None:
        self.announced.append((queue, envelope))

    def _enter(self, unit: Unit) -> Entered | KeyReused:
        if unit.key in self._known:
            body_hash, first, answer = self._known[unit.key]
            if body_hash != unit.body_hash:
                return KeyReused("used with another body")
            return Entered(first, answer)
        first = self._last + 1
        self._last += sum(len(draft.writes) for draft in unit.drafts)
        if unit.key:
            self._known[unit.key] = (unit.body_hash, first, unit.answer)
        return Entered(first)


@pytest.fixture
def journal() -> Appended:
    return Appended()


@pytest.fixture
async def commit(journal: Appended) -> AsyncIterator[GroupCommit]:
    commit = GroupCommit(journal.append, journal.announce, linger=0.0)
    yield commit
    journal.gate.set()
    await commit.close()


def entry(
    count: int = 1,
    *,
    namespace: str = "ns",
    source: str = "default",
    queue: str = "deliver.interactive",
    key: str = "",
    body_hash: str = "",
) -> Entry:
    return Entry(
        namespace=namespace,
        source=source,
        queue=queue,
        drivers=("redis",),
        writes=[b"write"] * count,
        key=key,
        body_hash=body_hash,
        answer=b"answer" if key else b"",
    )


async def held_back(
    journal: Appended, commit: GroupCommit, entries: Sequence[Entry]
) -> list[asyncio.Task[Entered]]:
    """The entries all waiting while a first commit is under way, then let go."""
    journal.gate.clear()
    first = asyncio.create_task(commit.enter(entry()))
    await journal.begun.wait()
    tasks = [asyncio.create_task(commit.enter(waiting)) for waiting in entries]
    await asyncio.sleep(0)
    journal.gate.set()
    await asyncio.wait([first, *tasks])
    return tasks


async def test_lone_request_is_entered_at_once_and_announced(
    journal: Appended, commit: GroupCommit
) -> None:
    assert await commit.enter(entry(3)) == Entered(1)
    assert await commit.enter(entry()) == Entered(4)
    assert journal.announced == [("deliver.interactive", 1), ("deliver.interactive", 4)]


async def test_requests_that_arrive_meanwhile_are_entered_together(
    journal: Appended, commit: GroupCommit
) -> None:
    tasks = await held_back(journal, commit, [entry(2), entry(1), entry(5)])
    assert [task.result() for task in tasks] == [Entered(2), Entered(4), Entered(5)]
    assert len(journal.calls) == 2
    [unit] = journal.calls[1]
    [draft] = unit.drafts
    assert draft.slices == [(0, 2), (2, 1), (3, 5)]
    assert journal.announced == [("deliver.interactive", 1), ("deliver.interactive", 2)]


async def test_only_requests_of_one_place_share_envelopes(
    journal: Appended, commit: GroupCommit
) -> None:
    entries = [
        entry(),
        entry(source="other"),
        entry(queue="deliver.bulk"),
        entry(namespace="other"),
        entry(),
    ]
    tasks = await held_back(journal, commit, entries)
    places = [(unit.namespace, unit.source, unit.queue) for unit in journal.calls[1]]
    assert places == [
        ("ns", "default", "deliver.interactive"),
        ("ns", "other", "deliver.interactive"),
        ("ns", "default", "deliver.bulk"),
        ("other", "default", "deliver.interactive"),
    ]
    firsts = [task.result().first for task in tasks]
    assert firsts == [2, 4, 5, 6, 3]


async def test_request_with_a_key_stands_alone(journal: Appended, commit: GroupCommit) -> None:
    tasks = await held_back(journal, commit, [entry(), entry(key="k", body_hash="h"), entry()])
    assert [unit.key for unit in journal.calls[1]] == ["", "k"]
    assert [task.result().first for task in tasks] == [2, 4, 3]


async def test_repeated_request_gets_the_first_answer_and_is_not_announced_again(
    journal: Appended, commit: GroupCommit
) -> None:
    repeated = entry(2, key="k", body_hash="h")
    assert await commit.enter(repeated) == Entered(1)
    assert await commit.enter(repeated) == Entered(1, b"answer")
    assert journal.announced == [("deliver.interactive", 1)]


async def test_key_with_another_body_fails_that_request_alone(
    journal: Appended, commit: GroupCommit
) -> None:
    await commit.enter(entry(key="k", body_hash="h"))
    good, bad = await held_back(journal, commit, [entry(), entry(key="k", body_hash="other")])
    assert good.exception() is None
    assert isinstance(bad.exception(), KeyReused)


async def test_long_request_is_announced_once_for_each_envelope(
    journal: Appended, commit: GroupCommit
) -> None:
    await commit.enter(entry(1000))
    assert [envelope for _, envelope in journal.announced] == [1, 513]


@pytest.mark.parametrize("error", [Unavailable("journal: away"), RuntimeError("a bug")])
async def test_failed_commit_fails_its_requests_and_the_next_one_goes_on(
    journal: Appended, commit: GroupCommit, error: Exception
) -> None:
    journal.error = error
    with pytest.raises(type(error)):
        await commit.enter(entry())
    journal.error = None
    assert await commit.enter(entry()) == Entered(1)
    assert journal.announced == [("deliver.interactive", 1)]


async def test_caller_who_has_left_does_not_hurt_the_others(
    journal: Appended, commit: GroupCommit
) -> None:
    journal.gate.clear()
    tasks = [asyncio.create_task(commit.enter(entry())) for _ in range(3)]
    await journal.begun.wait()
    tasks[0].cancel()
    await asyncio.sleep(0)
    journal.gate.set()
    assert await asyncio.gather(*tasks[1:])


async def test_closing_ends_what_waits_and_what_is_under_way(journal: Appended) -> None:
    commit = GroupCommit(journal.append, journal.announce, linger=0.0)
    journal.gate.clear()
    under_way = asyncio.create_task(commit.enter(entry()))
    await journal.begun.wait()
    waiting = asyncio.create_task(commit.enter(entry(2)))
    await asyncio.sleep(0)
    closing = asyncio.create_task(commit.close())
    await asyncio.sleep(0)
    journal.gate.set()
    async with asyncio.timeout(5):
        await closing
        assert (await under_way, await waiting) == (Entered(1), Entered(2))


async def test_idle_one_is_closed_at_once(journal: Appended) -> None:
    commit = GroupCommit(journal.append, journal.announce, linger=0.0)
    async with asyncio.timeout(5):
        await commit.close()
    assert journal.calls == []


async def test_an_envelope_carries_the_traces_of_the_requests_that_it_holds_writes_of(
    journal: Appended, commit: GroupCommit
) -> None:
    journal.gate.clear()
    first = asyncio.create_task(commit.enter(entry()))
    await journal.begun.wait()
    counts = {"a": 500, "": 6, "b": 6, "c": 700, "d": 1}
    later = [
        asyncio.create_task(commit.enter(replace(entry(count), trace=trace)))
        for trace, count in counts.items()
    ]
    await asyncio.sleep(0)
    journal.gate.set()
    await asyncio.gather(first, *later)
    [unit] = journal.calls[-1]
    assert [len(draft.writes) for draft in unit.drafts] == [512, 512, 189]
    assert [draft.traces for draft in unit.drafts] == [["a", "b"], ["c"], ["c", "d"]]
