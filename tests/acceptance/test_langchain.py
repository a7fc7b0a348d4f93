"""LangChain and LangGraph on memrelay: their own standard tests, and ours beside them.

They run in an environment of their own (``tests/frameworks/langchain``) against a memrelay that is started
here; of ours only the client's wheel is there, none of the server's packages.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from deploy.native.server import ServerError
from tests.frameworks import FOLDER, ROOT, install, python_of
from tests.servers import cannot_be_had
from tests.service import Service, settings_env

FRAMEWORK = "langchain"
SUITE_DIMENSIONS = 6
SOURCES = {
    "default": {"drivers": ["redis", "sqlite"], "filterable": {"year": "number"}},
    "brought": {
        "drivers": ["redis", "sqlite"],
        "embedding": "external",
        "dimensions": SUITE_DIMENSIONS,
    },
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client as a wheel, for ``PYTHONPATH``."""
    into = tmp_path_factory.mktemp("installed")
    try:
        install(FRAMEWORK, [ROOT], into)
    except ServerError as error:
        cannot_be_had(str(error))
    return into


@pytest.fixture(scope="module")
def service(_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp(FRAMEWORK)
    env = settings_env(
        broker_url=f"{_redis}/12",
        journal_url=f"{_redis}/13",
        redis_url=f"{_redis}/14",
        directory=directory,
    )
    with Service(env | {"MEMRELAY_SOURCES": json.dumps(SOURCES)}, directory) as service:
        yield service


def environment(installed: Path, service: Service) -> Mapping[str, str]:
    passed_on = {
        name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ
    }
    return {**passed_on, "PYTHONPATH": str(installed), "MEMRELAY_URL": service.url}


def in_its_environment(env: Mapping[str, str], *words: str | Path) -> str:
    """What a module of its interpreter said, which must have ended well."""
    done = subprocess.run(
        [python_of(FRAMEWORK), "-m", *words],
        cwd=FOLDER / FRAMEWORK,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(
    ("suite", "least"),
    [
        ("vectorstores", 72),
        ("retrievers", 8),
        ("values", 66),
        ("documents", 11),
        ("graph", 20),
        ("differential", 1),
        ("page", 1),
    ],
)
def test_in_its_own_environment(installed: Path, service: Service, suite: str, least: int) -> None:
    """All tests of a suite pass, ``least`` are there, and none is left out or expected to fail."""
    said = in_its_environment(
        environment(installed, service), "pytest", "-c", "pytest.ini", f"{suite}.py"
    )
    summary = said.splitlines()[-1]
    passed = re.fullmatch(r"(\d+) passed in .*", summary)
    assert passed, summary
    assert int(passed[1]) >= least, summary


def test_the_adapters_fit_the_types_of_their_frameworks(
    installed: Path, service: Service, tmp_path: Path
) -> None:
    packages = ("-p", "memrelay.compat.langchain", "-p", "memrelay.compat.langgraph")
    env = {**environment(installed, service), "MYPYPATH": str(ROOT)}
    options = ("--strict", "--config-file", os.devnull, "--cache-dir", str(tmp_path))
    in_its_environment(env, "mypy", *options, *packages)
