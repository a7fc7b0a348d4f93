"""memrelay as the session of agents of the OpenAI Agents SDK, in its own environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.native.server import ServerError
from tests.adapters import assert_suite_passes, assert_types_fit, installed, served
from tests.servers import cannot_be_had
from tests.service import Service

SOURCES = {
    "default": {"drivers": ["redis", "sqlite"]},
    "sessions": {"drivers": ["sqlite", "redis"]},
}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return installed("openai_agents", tmp_path_factory.mktemp("installed"))
    except ServerError as error:
        cannot_be_had(str(error))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with served(tmp_path_factory.mktemp("openai_agents"), SOURCES) as service:
        yield service


@pytest.mark.parametrize("suite", ["session", "runner"])
def test_in_its_own_environment(ours: Path, service: Service, suite: str) -> None:
    assert_suite_passes("openai_agents", suite, ours, service)


@pytest.mark.usefixtures("ours")
def test_its_types_fit_those_of_the_sdk(tmp_path: Path) -> None:
    assert_types_fit("openai_agents", tmp_path)
