"""The ``relay`` memory driver against a service that refuses, is away, or holds what others put there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from memrelay import Memrelay
from memrelay.compat.memory_driver import get_memory_driver
from memrelay.compat.memory_driver.base import BaseMemoryDriver, PartlyStored
from memrelay.compat.memory_driver.relay import EVERYBODY
from memrelay.compat.memory_driver.shelved import ShelfDriver
from memrelay.errors import InvalidInput, MemrelayError, Permanent, Unavailable
from tests.integration.test_remote_model import DIMENSIONS, Model
from tests.memory_drivers import clean
from tests.rig import Rig, memory, redis_servers
from tests.service import Service

POISON = "what the model refuses"


@pytest.fixture
def driver(service: Service) -> Iterator[BaseMemoryDriver]:
    with clean(MEMORY_DRIVER="relay", MEMRELAY_URL=service.url):
        yield get_memory_driver()


def test_what_others_put_there_is_recalled_if_it_is_the_users(
    driver: BaseMemoryDriver, service: Service, user: str
) -> None:
    with Memrelay(service.url) as relay:
        relay.add([{"text": "hers", "user_id": user}, {"text": "nobody's"}], wait=60)
    assert [found["content"] for found in driver.recall(user)] == ["hers"]
    assert isinstance(driver, ShelfDriver)
    after: str | None = None
    while page := driver.page("memories", after):
        assert "nobody's" not in [record.content for record in page]
        after = page[-1].id


def test_nobody_can_be_the_user_who_owns_the_documents(driver: BaseMemoryDriver) -> None:
    with pytest.raises(InvalidInput):
        driver.store(EVERYBODY, "for everybody to read")
    driver.store_global_knowledge("a page", "category")
    assert driver.recall(EVERYBODY) == []


def test_another_source_can_be_named(
    service: Service, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clean(MEMORY_DRIVER="relay", MEMRELAY_URL=service.url, MEMRELAY_SOURCE="plain"):
        get_memory_driver().store(user, "in plain")
        assert len(get_memory_driver().recall(user)) == 1
    with clean(MEMORY_DRIVER="relay", MEMRELAY_URL=service.url):
        assert get_memory_driver().recall(user) == []


def test_a_service_that_is_away_is_an_error_and_unhealthy() -> None:
    with clean(MEMORY_DRIVER="relay", MEMRELAY_URL="http://127.0.0.1:1"):
        status = get_memory_driver().health_check()
        assert (status["status"], status["connected"]) == ("unhealthy", False)
        with pytest.raises(Unavailable):
            get_memory_driver().recall("ana")


def test_what_the_service_refuses_is_reported_one_by_one(tmp_path: Path) -> None:
    """More of them than a job lists; and those that a model alone refuses."""
    with Model(DIMENSIONS) as model, redis_servers(tmp_path) as start:
        options = {"api_base": model.url, "api_key": "secret", "dimensions": DIMENSIONS}
        rig = Rig(tmp_path, start, model=options)
        try:
            url = rig.start().service.url
            rig.writer().put([memory("warm", "the worker is ready")])
            rig.wait_drained(180)
            model.behave(poison=POISON)
            with clean(MEMORY_DRIVER="relay", MEMRELAY_URL=url):
                check_refusals(get_memory_driver())
        finally:
            rig.close()


def check_refusals(driver: BaseMemoryDriver) -> None:
    texts = [f"{POISON} {uuid4()}" if n % 2 else f"what it takes {uuid4()}" for n in range(40)]
    with pytest.raises(PartlyStored, match="20 of 40") as raised:
        driver.store_many([{"user_id": "ana", "content": text} for text in texts])
    assert sorted(raised.value.failed) == list(range(1, 40, 2))
    assert all(isinstance(error, MemrelayError) for error in raised.value.failed.values())
    assert {n: found["content"] for n, found in raised.value.stored.items()} == {
        n: texts[n] for n in range(0, 40, 2)
    }
    with pytest.raises(Permanent):
        driver.store("ana", f"{POISON} alone")
    assert len(driver.recall("ana", top_k=50)) == 20
