"""One run of docker-compose.yml: under a project name and on ports of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.native.server import ServerError
from memrelay.embedded.ports import free_ports
from tests.compose.docker import docker

ROOT = Path(__file__).parents[2]
DRIVERS = {"weaviate": "weaviate", "pgvector": "pgvector"}
"""Profiles that bring a store, and the name of its driver."""
PORTS = ("API", "REDIS", "WEAVIATE", "WEAVIATE_GRPC", "POSTGRES", "FLOWER", "PROMETHEUS", "GRAFANA")
SECRET = f"mr_{secrets.token_hex(24)}"
"""Of everything that asks for one, in this run."""
START_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Stack:
    """``profiles`` as docker-compose.yml has them; ``without`` are services that cannot run here."""

    profiles: Sequence[str]
    without: Sequence[str] = ()
    project: str = "memrelay-try"
    ports: dict[str, int] = field(
        default_factory=lambda: dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    )

    @property
    def drivers(self) -> list[str]:
        return ["redis", *(DRIVERS[name] for name in self.profiles if name in DRIVERS)]

    @property
    def env(self) -> dict[str, str]:
        ports = {f"MEMRELAY_{name}_PORT": str(port) for name, port in self.ports.items()}
        chosen = {
            "COMPOSE_PROFILES": ",".join(self.profiles),
            "MEMRELAY_SOURCES__DEFAULT__DRIVERS": json.dumps(self.drivers),
            "MEMRELAY_ADMIN_KEY": SECRET,
            "FLOWER_BASIC_AUTH": f"memrelay:{SECRET}",
            "GRAFANA_PASSWORD": SECRET,
        }
        if "rabbitmq" in self.profiles:
            chosen["RABBITMQ_PASSWORD"] = SECRET
            chosen["MEMRELAY_BROKER_URL"] = f"amqp://memrelay:{SECRET}@rabbitmq:5672//"
        return ports | chosen

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def compose(self, *words: str) -> str:
        """What it printed; ServerError with its end when it failed."""
        done = docker("compose", "--project-name", self.project, *words, env=self.env, cwd=ROOT)
        if done.returncode != 0:
            said = (done.stdout + done.stderr)[-3000:]
            raise ServerError(f"docker compose {' '.join(words)}:\n{said}")
        return done.stdout

    @property
    def services(self) -> list[str]:
        named = self.compose("config", "--services").split()
        return sorted(name for name in named if name not in self.without)

    def up(self) -> None:
        """Everything is healthy on return; ServerError with the logs of what is not."""
        try:
            self.compose(
                "up",
                *("--detach", "--wait", "--wait-timeout", str(START_SECONDS)),
                *self.services,
            )
        except ServerError as error:
            logs = docker(
                *("compose", "--project-name", self.project, "logs", "--tail", "10"), env=self.env
            )
            raise ServerError(f"{error}\n{logs.stdout[-6000:]}") from None

    def stop(self) -> None:
        """In order, each within its grace, or killed."""
        self.compose("stop")

    def down(self) -> None:
        """With its data."""
        self.compose("down", "--volumes", "--remove-orphans")

    def states(self) -> dict[str, Any]:
        """Docker's ``State`` of each service's container, with ``RestartCount``."""
        found = {}
        for id in self.compose("ps", "--all", "--quiet").split():
            [shown] = json.loads(docker("inspect", id).stdout)
            name = shown["Config"]["Labels"]["com.docker.compose.service"]
            found[name] = shown["State"] | {"RestartCount": shown["RestartCount"]}
        return found

    def crash(self, service: str) -> None:
        """SIGKILL to its first process, as the kernel would: ``docker kill`` would not be restarted."""
        os.kill(self.states()[service]["Pid"], signal.SIGKILL)


def wait(what: str, condition: Callable[[], bool], seconds: float = START_SECONDS) -> float:
    """How long it took until ``condition`` held; ServerError after ``seconds``."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise ServerError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.5)
    return time.monotonic() - began
