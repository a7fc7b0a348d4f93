"""What no process loads unless it is used: packages cost seconds at a start, and memory in every process."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from deploy.native.redis import RedisServer
from memrelay.embedded.ports import free_port
from tests.service import Service, settings_env

UNUSED = {"litellm", "mcp", "pandas", "psycopg", "sentence_transformers", "weaviate", "wordllama"}
"""None of them is needed by a service on Redis and SQLite with the local model, asked nothing over MCP."""
SERVER = {
    "api",
    "backends",
    "celery",
    "fastapi",
    "kombu",
    "litellm",
    "msgspec",
    "numpy",
    "redis",
    "workers",
}
OTHERS = {
    "memrelay.cli.up",
    "memrelay.embedded.environment",
    "memrelay.settings",
    "pydantic_settings",
}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has when it has run ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('loaded:', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import memrelay, memrelay.client; memrelay.Memrelay", SERVER | OTHERS | {"typer"}),
        ("from memrelay.cli.app import run; run(['--version'])", SERVER | OTHERS | {"httpx"}),
        ("from memrelay.cli.app import run; run(['search', '--help'])", SERVER | OTHERS),
        ("from memrelay.cli.app import run; run(['jobs', 'ls', '--help'])", SERVER | OTHERS),
        (
            "import api.aside",
            {"celery", "fastapi", "numpy", "memrelay.client", "memrelay.settings"},
        ),
    ],
)
def test_what_is_not_used_is_not_loaded(code: str, absent: set[str]) -> None:
    assert not loaded_by(code) & absent


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of API and worker that tell what they import, after one memory of each lane was stored."""
    directory = tmp_path_factory.mktemp("loading")
    with RedisServer(directory / "redis", free_port()) as server:
        env = settings_env(
            broker_url=f"{server.url}/1",
            journal_url=f"{server.url}/0",
            redis_url=f"{server.url}/2",
            directory=directory,
        )
        with Service(env | {"PYTHONPROFILEIMPORTTIME": "1"}, directory) as service:
            for lane in ("interactive", "bulk"):
                answer = httpx.post(
                    f"{service.url}/v1/memories",
                    json={"memories": [{"text": "Ana likes tea"}], "lane": lane},
                    params={"wait": "stored", "timeout": "60s"},
                    timeout=90,
                )
                assert answer.json()["job"]["status"] == "stored", answer.text
        yield {"api": service.api_log.read_text(), "worker": service.worker_log.read_text()}


def imported(log: str) -> set[str]:
    """Packages, by what ``-X importtime`` tells."""
    return {name.partition(".")[0] for name in re.findall(r"^import time:.*\| +(\S+)$", log, re.M)}


def test_api_loads_no_package_that_its_settings_do_not_need(logs: dict[str, str]) -> None:
    found = imported(logs["api"])
    assert {"fastapi", "redis", "apsw"} <= found
    assert not found & UNUSED


def test_worker_loads_no_package_that_its_settings_do_not_need(logs: dict[str, str]) -> None:
    found = imported(logs["worker"])
    assert {"celery", "redis", "apsw"} <= found
    assert not found & (UNUSED | {"click_repl", "fastapi", "flower", "httpx", "jinja2", "uvicorn"})


def test_children_of_a_worker_share_its_model_and_drivers(logs: dict[str, str]) -> None:
    """What a child imported for itself would be in the log once for each of the three."""
    for module in ("numpy", "tokenizers", "apsw", "backends.redis.driver", "celery.bin.worker"):
        assert len(re.findall(rf"\| +{re.escape(module)}$", logs["worker"], re.M)) == 1, module
