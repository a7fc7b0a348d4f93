"""A memrelay with the sources of BeamMePrompty's guide, for the tests of its seed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from memrelay import Memrelay
from tests.service import Service, settings_env

BEAM_SOURCES = {
    "cache": {
        "drivers": ["redis", "sqlite"],
        "description": "Fast temporary cache for session data",
        "options": {"table": "agent_cache", "cleanup_interval": 30_000},
        "default": True,
    },
    "persistent": {"drivers": ["sqlite"], "description": "Long-term persistent storage"},
    "vectors": {"drivers": ["redis"], "description": "Vector storage for semantic search"},
}


@pytest.fixture(scope="session")
def beam_service(_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("beam")
    env = settings_env(
        broker_url=f"{_redis}/9",
        journal_url=f"{_redis}/10",
        redis_url=f"{_redis}/11",
        directory=directory,
    )
    with Service(env | {"MEMRELAY_SOURCES": json.dumps(BEAM_SOURCES)}, directory) as service:
        service.wait_for_worker()
        yield service


@pytest.fixture(scope="session")
def beam(beam_service: Service) -> Iterator[Memrelay]:
    with Memrelay(beam_service.url) as relay:
        yield relay
