"""The client's deletes by selection, dead letters, drivers and usage, against a running memrelay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from memrelay import AsyncMemrelay, Memrelay, errors
from tests.rig import wait_until
from tests.service import Service


@pytest.fixture
def client(service: Service) -> Iterator[Memrelay]:
    with Memrelay(service.url) as client:
        yield client


def test_what_a_user_and_a_filter_select_is_deleted(client: Memrelay, user: str) -> None:
    client.add(
        [
            {"text": f"{n}", "user_id": user, "tags": ["even"] if n % 2 == 0 else []}
            for n in range(5)
        ],
        wait=60,
    )
    deleted = client.delete_where(user_id=user, filter={"tags": {"$contains": "even"}})
    assert client.count(user_id=user).count == 2
    assert (deleted.memories, deleted.job.total) == ((), 1)
    assert deleted.version is not None
    assert client.wait_job(deleted.job.id, timeout=120).status == "stored"
    with pytest.raises(errors.InvalidRequest) as raised:
        client.delete_where()
    assert raised.value.errors[0][0] == "/ids"


def test_purge_takes_the_name_of_the_namespace(client: Memrelay, user: str) -> None:
    client.add({"text": "of a plain source", "user_id": user}, source="plain", wait=60)
    with pytest.raises(errors.InvalidRequest):
        client.purge("other", source="plain")
    assert client.count(source="plain", user_id=user).count == 1
    (job,) = client.purge("default", source="plain").jobs
    assert job.source == "plain"
    assert job.version > 0
    assert client.count(source="plain").count == 0
    assert client.wait_job(job.id, timeout=120).status == "stored"


def test_dead_letters_are_listed_replayed_and_deleted(client: Memrelay) -> None:
    page = client.dead_letters(code="unheard_of", limit=5)
    assert (page.dead_letters, page.cursor, page.alarms) == ((), None, {})
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert client.replay_dead_letters(before=long_ago).replayed == 0
    assert client.delete_dead_letters(code="unheard_of", driver="redis").deleted == 0
    assert client.resume().resumed == ()
    with pytest.raises(errors.InvalidRequest):
        client.delete_dead_letters()


def test_a_driver_is_synced_and_says_so(client: Memrelay) -> None:
    asked = client.sync_driver("sqlite", full=True)
    assert asked.sync.ended_at is None

    def ended() -> bool:
        (sqlite,) = [driver for driver in client.drivers().drivers if driver.name == "sqlite"]
        return sqlite.sync is not None and sqlite.sync.ended_at is not None

    wait_until("the sync to end", ended, 180)
    with pytest.raises(errors.NotFound):
        client.sync_driver("unheard")


def test_a_driver_is_taken_out_and_comes_back(client: Memrelay) -> None:
    assert client.detach_driver("sqlite").state == "away"
    client.sync_driver("sqlite")
    wait_until(
        "it to be back", lambda: {d.state for d in client.drivers().drivers} == {"serving"}, 180
    )


async def test_usage_is_read(service: Service) -> None:
    async with AsyncMemrelay(service.url) as client:
        usage = await client.usage()
    assert usage.namespace == "default"
    assert usage.waiting.memories >= 0
