"""memrelay as the memory service of Google's Agent Development Kit, in its own environment."""

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
    "notes": {"drivers": ["sqlite"]},
}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return installed("google_adk", tmp_path_factory.mktemp("installed"))
    except ServerError as error:
        cannot_be_had(str(error))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with served(tmp_path_factory.mktemp("google_adk"), SOURCES) as service:
        yield service


@pytest.mark.parametrize("suite", ["service", "agents"])
def test_in_its_own_environment(ours: Path, service: Service, suite: str) -> None:
    assert_suite_passes("google_adk", suite, ours, service)


@pytest.mark.usefixtures("ours")
def test_its_types_fit_those_of_adk(tmp_path: Path) -> None:
    assert_types_fit("google_adk", tmp_path)
