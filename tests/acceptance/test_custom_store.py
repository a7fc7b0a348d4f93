"""memrelay's own service with a custom store as primary: agent-memory-server's, made by its factory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from uuid import uuid4

import pytest

from deploy.native.redis import RedisServer
from deploy.native.server import ServerError
from memrelay import Memrelay
from memrelay.embedded.ports import free_port
from tests.agent_memory_server import NAME, WORKER, ModuleRedis
from tests.frameworks import FOLDER, python_of
from tests.servers import cannot_be_had
from tests.service import Service, ServiceError, settings_env

FACTORY = "redis_backends.create"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Not started."""
    directory = tmp_path_factory.mktemp("custom")
    try:
        python_of(NAME)
        python = python_of(WORKER)
    except ServerError as error:
        cannot_be_had(str(error))
    with (
        RedisServer(directory / "redis", free_port()) as redis,
        ModuleRedis(directory / "store", free_port()) as store,
    ):
        env = settings_env(
            broker_url=f"{redis.url}/1",
            journal_url=f"{redis.url}/0",
            redis_url=f"{redis.url}/2",
            directory=directory,
        )
        service = Service(
            env
            | {
                "MEMRELAY_DRIVERS__CUSTOM__FACTORY": FACTORY,
                "MEMRELAY_SOURCES": json.dumps({"default": {"drivers": ["custom", "sqlite"]}}),
                "REDIS_URL": store.url,
                "INDEX_NAME": "shared",
                "DIMENSIONS": "256",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            },
            directory,
        )
        service.python = str(python)
        service.env["PYTHONPATH"] += f"{os.pathsep}{FOLDER / NAME}"
        yield service
        service.stop()


def test_memories_go_to_a_custom_store_and_are_found_and_deleted(service: Service) -> None:
    service.start()
    service.wait_for_worker()
    user = f"user-{uuid4().hex}"
    texts = {f"{user}-city": "Paris is the capital of France", f"{user}-tea": "Ana drinks tea"}
    with Memrelay(service.url) as relay:
        accepted = relay.add(
            [{"id": id, "text": text, "user_id": user} for id, text in texts.items()], wait=60
        )
        job = relay.wait_job(accepted.job.id, timeout=120)
        assert {name: counts.stored for name, counts in job.counts.items()} == {
            "custom": 2,
            "sqlite": 2,
        }, service.logs
        for driver in ("custom", "sqlite"):
            found = relay.search(
                "the French capital", user_id=user, mode="semantic", drivers=[driver]
            )
            assert [hit.text for hit in found.hits] == list(texts.values())
            assert found.served_by == (driver,)
        relay.delete(f"{user}-city", wait=60)
        assert relay.count(user_id=user).count == 1
        found = relay.search("the French capital", user_id=user, mode="semantic")
        assert [hit.id for hit in found.hits] == [f"{user}-tea"]
        assert found.served_by == ("custom",)
        relay.add({"id": f"{user}-tea", "text": "Ana drinks coffee", "user_id": user}, wait=60)
        assert relay.get(f"{user}-tea").text == "Ana drinks coffee"


def test_a_wrong_factory_stops_the_start(service: Service) -> None:
    service.stop()
    service.env["MEMRELAY_DRIVERS__CUSTOM__FACTORY"] = "no_such_module.create"
    with pytest.raises(ServiceError, match="Failed to import factory function no_such_module"):
        service.start_api()
