"""What PATCH stands on: the last accepted version wherever it is, and vectors that come along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.journal import (
    Changed,
    DriverResult,
    Drop,
    DropWhere,
    Entered,
    Journal,
    Put,
    Settlement,
    encode_vectors,
    encode_write,
)
from backends.journal.accepted import accepted, newest_scoped
from backends.journal.cancel import cancel
from backends.journal.usage import Usage, usage
from memrelay.batching import pack
from memrelay.driver import Driver
from memrelay.jobs import JobId
from memrelay.types import Upsert, vector_to_bytes
from tests.bench import NAMESPACE, Bench
from tests.integration.test_journal import applied, claim, enter, noting, unit

MARK = vector_to_bytes([1.0] + [0.0] * 255)


@pytest.fixture
def bench(journal_url: str, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(journal_url, tmp_path)
    yield bench
    bench.close()


async def found(journal: Journal, version: int) -> str | None:
    it = await accepted(journal, "ns", version, space="")
    if it is None:
        return None
    assert it.version == version
    return it.write.id if isinstance(it.write, Put) else f"not {it.write.id}"


async def test_write_is_found_from_when_it_is_accepted_until_it_is_stored(
    journal: Journal,
) -> None:
    [first] = await enter(journal, noting(["a", "b"]))
    assert [await found(journal, first + at) for at in range(3)] == ["a", "b", None]
    assert await accepted(journal, "other", first, space="") is None
    claimed = await claim(journal)
    assert await found(journal, first) == "a"
    await journal.settle(claimed, [applied(first)])
    await journal.client.delete(f"{{mrj}}:b:{first}")  # which it is by itself after ten seconds
    assert await found(journal, first) is None


async def test_write_that_will_never_be_stored_is_not_found(journal: Journal) -> None:
    [first, second] = await enter(journal, noting(["a"]), noting(["b"]))
    await cancel(journal, "ns", [JobId(first, 1)])
    assert await found(journal, first) is None
    claimed = await claim(journal)
    refused = DriverResult(driver="redis", outcomes="f")
    await journal.settle(claimed, [Settlement(eid=second, results=[refused])])
    assert await found(journal, second) is None


async def test_delete_is_found_as_one(journal: Journal) -> None:
    drafts = pack([([encode_write(Drop("a"))], ["a"], ["a"])])
    [first] = await enter(journal, replace(unit([]), drafts=drafts))
    assert await found(journal, first) == "not a"


async def test_change_is_not_entered_after_a_delete_by_filter_that_it_has_not_seen(
    journal: Journal,
) -> None:
    assert await newest_scoped(journal, "ns", "default") == 0
    [first] = await enter(journal, noting(["a"]))
    change = replace(noting(["a"], {"a": first}), seen=0)
    drafts = pack([([encode_write(DropWhere("*"))], (), ())])
    drafts[0].scoped = "*"
    [deleted] = await enter(journal, replace(unit([]), drafts=drafts))
    assert isinstance((await journal.append([change]))[0], Changed)
    assert await newest_scoped(journal, "ns", "default") == deleted
    [answer] = await journal.append([replace(change, seen=deleted)])
    assert isinstance(answer, Entered)


def patched(bench: Bench, space: str) -> int:
    """A memory enters with a vector of the space."""
    made = noting(["x"], drivers=("a", "b"))
    made.drafts[0].vectors, made.drafts[0].space = encode_vectors({0: MARK}), space
    [answer] = bench.run(bench.journal.append([made]))
    assert isinstance(answer, Entered)
    return answer.first


def vector(bench: Bench, driver: str) -> bytes:
    async def get(ready: Driver) -> Any:
        return (await ready.records(bench.scope, ["x"]))["x"]

    op = bench.run(bench.room.sources.stores[driver].call(bench.scope, get))
    assert isinstance(op, Upsert)
    return op.vector


def test_vector_that_came_along_is_stored_and_nothing_is_embedded(bench: Bench) -> None:
    first = patched(bench, "")
    at_hand: Any = bench.run(accepted(bench.journal, NAMESPACE, first, space=""))
    assert at_hand.vector == MARK
    elsewhere: Any = bench.run(accepted(bench.journal, NAMESPACE, first, space="another"))
    assert elsewhere.vector is None
    bench.work()
    assert [vector(bench, driver) for driver in "ab"] == [MARK, MARK]
    assert bench.run(usage(bench.journal, NAMESPACE)) == Usage(0, 0), "its bytes are given back"


def test_vector_of_another_space_is_not_stored(bench: Bench) -> None:
    patched(bench, '{"model":"another","dimensions":256}')
    bench.work()
    assert MARK not in [vector(bench, driver) for driver in "ab"]
