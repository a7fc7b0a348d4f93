"""Memory drivers on memrelay's own drivers: what is written last wins, whatever the clocks say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.memory_driver.stores import StoreShelf
from memrelay.compat.memory_driver.record import Recall, Record, knowledge
from memrelay.times import now_us

HOUR = 3_600_000_000


@pytest.fixture
async def shelves(tmp_path: Path) -> AsyncIterator[tuple[StoreShelf, StoreShelf]]:
    """Two processes on one file, as it were; the clock of the second is an hour ahead."""
    options = {"path": tmp_path / "memories.db"}
    ours, ahead = (StoreShelf("sqlite", options, "local/wordllama") for _ in range(2))
    ahead._last = now_us() + HOUR
    for shelf in (ours, ahead):
        await shelf.open()
    yield ours, ahead
    for shelf in (ours, ahead):
        await shelf.close()


def edition(text: str) -> Record:
    return knowledge(
        content=text, category="c", title=None, doc_id="D-1", metadata={}, created_at=now_us()
    )


async def held(shelf: StoreShelf) -> list[str]:
    recall = Recall(kind="global_knowledge", mode="recent", top_k=10)
    return [found.record.content for found in await shelf.find(recall)]


async def test_the_document_that_is_stored_last_stays(
    shelves: tuple[StoreShelf, StoreShelf],
) -> None:
    ours, ahead = shelves
    await ahead.put([edition("first")])
    [stored] = await ours.put([edition("second")])
    assert isinstance(stored, Record)
    assert await held(ours) == await held(ahead) == ["second"]


async def test_what_another_stored_is_deleted(shelves: tuple[StoreShelf, StoreShelf]) -> None:
    ours, ahead = shelves
    memory = Record(kind="memories", user_id="ana", content="x", created_at=now_us())
    [stored] = await ahead.put([memory])
    assert isinstance(stored, Record)
    assert await ours.remove(stored.id, "ana")
    assert not await ahead.remove(stored.id, "ana")


async def test_of_one_id_in_a_batch_the_last_counts(
    shelves: tuple[StoreShelf, StoreShelf],
) -> None:
    ours, _ = shelves
    await ours.put([edition("one"), edition("two")])
    assert await held(ours) == ["two"]
