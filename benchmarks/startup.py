"""What every command costs before it does anything: seconds of CPU (user and system, of all its processes)
and modules imported, over a floor that imports nothing but the packages that it stands on; and the memory
of the servers. ``python -m benchmarks.startup`` prints one JSON; no other benchmark runs it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.stack import ROOT, Stack, call, wait_stored
from benchmarks.texts import memories
from memrelay.embedded.ports import free_port
from tests.cli import environment_in, up_in
from tests.service import Service, children

CLI = ("-m", "memrelay.cli")
COUNT = 1000
TICK = os.sysconf("SC_CLK_TCK")
FLOORS = {
    "sdk": "import httpx, pydantic",
    "cli": "import httpx, pydantic, typer",
    "api": "import celery, fastapi, numpy, pydantic_settings, redis.asyncio, tokenizers, uvicorn",
    "worker": "import celery, numpy, pydantic_settings, redis.asyncio, tokenizers",
}


@dataclass(frozen=True, slots=True)
class Command:
    """What is run, and the floor that it is held against."""

    floor: str
    arguments: Sequence[str]
    env: Mapping[str, str] | None = None


def commands(service: Service) -> dict[str, Command]:
    """All that end by themselves; those that ask, ask ``service``."""
    asking = {"MEMRELAY_URL": service.url}
    completing = {
        "_MEMRELAY_COMPLETE": "complete_bash",
        "COMP_WORDS": "memrelay j",
        "COMP_CWORD": "1",
    }
    return {
        "import memrelay": Command("sdk", ("-c", "import memrelay")),
        "import memrelay.client": Command("sdk", ("-c", "import memrelay.client")),
        "--version": Command("cli", (*CLI, "--version")),
        "--help": Command("cli", (*CLI, "--help")),
        "completion": Command("cli", CLI, completing),
        "add": Command("cli", (*CLI, "add", "Ana likes tea"), asking),
        "search": Command("cli", (*CLI, "search", "tea"), asking),
        "jobs ls": Command("cli", (*CLI, "jobs", "ls"), asking),
        "doctor": Command("worker", (*CLI, "doctor"), service.env),
    }


type Cost = Mapping[str, tuple[float, int]]
"""Of one run, by command: CPU seconds, and how many imports it has told of."""


def measure(stack: Stack, *, rounds: int = 5) -> dict[str, Any]:
    """By command: medians of CPU seconds and of their ratios to the floor, which is run before each of them;
    and the modules that all its processes import.

    Servers count until they are ready: an API when it says so, a worker when each lane has stored one
    memory, ``up`` when it has said so.
    """
    found: dict[str, Any] = {}
    with stack.redis:
        with stack.service("redis") as service:
            for name, command in commands(service).items():
                found |= _rounds({name: command.floor}, partial(_ended, name, command), rounds)
        served = {"api": "api", "worker": "worker"}
        found |= _rounds(served, lambda number, env: _served(stack, env), rounds)
        memory = _memory(stack)
    found |= _rounds({"up": "api"}, partial(_up, stack.directory), rounds)
    return {"floors": FLOORS, "commands": found, "memory_mib": memory}


def _rounds(
    floors: Mapping[str, str], once: Callable[[int, Mapping[str, str]], Cost], rounds: int
) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in floors}
    ratios: dict[str, list[float]] = {name: [] for name in floors}
    for number in range(rounds):
        bare = {
            floor: _run(Command(floor, ("-c", FLOORS[floor])), {})[0] for floor in floors.values()
        }
        for name, (used, _) in once(number, {}).items():
            seconds[name].append(used)
            ratios[name].append(used / bare[floors[name]])
    counted = once(rounds, {"PYTHONPROFILEIMPORTTIME": "1"})
    return {
        name: {
            "cpu_seconds": round(statistics.median(seconds[name]), 3),
            "over_floor": round(statistics.median(ratios[name]), 2),
            "floor": floor,
            "modules": counted[name][1],
        }
        for name, floor in floors.items()
    }


def _ended(name: str, command: Command, _: int, env: Mapping[str, str]) -> Cost:
    seconds, said = _run(command, env)
    return {name: (seconds, said.count("import time:"))}


def _run(command: Command, more: Mapping[str, str]) -> tuple[float, str]:
    """CPU seconds, its children's too, and what it said on standard error."""
    env = {**os.environ, **(command.env or {}), "PYTHONPATH": str(ROOT), **more}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, *command.arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0  # it was waited for
        said.seek(0)
        return used.ru_utime + used.ru_stime, said.read()


def _served(stack: Stack, env: Mapping[str, str]) -> Cost:
    stack.forget()
    service = stack.service("redis", **env)
    for log in (service.api_log, service.worker_log):
        log.unlink(missing_ok=True)
    try:
        service.start_api()
        api = _settled(service.api_pid)
        service.start_worker()
        _store(service, 1, "interactive")
        _store(service, 1, "bulk")
        worker = _settled(service.worker_pid)
    finally:
        service.stop()
    return {
        "api": (api, _modules(service.api_log)),
        "worker": (worker, _modules(service.worker_log)),
    }


def _up(parent: Path, number: int, env: Mapping[str, str]) -> Cost:
    directory = parent / f"up-{number}"
    directory.mkdir()
    before = dict(os.environ)
    os.environ.update(env)
    try:
        with up_in(directory, free_port()) as up:
            up.until("ready: ")
            seconds = _settled(up.process.pid)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return {"up": (seconds, _modules(up.log))}


def _store(service: Service, count: int, lane: str) -> None:
    rows = memories(count, users=10, seed=1, prefix=lane)
    taken = call(service, "/v1/memories", {"memories": rows, "lane": lane})
    wait_stored(service, [taken["job"]["id"]])


def _memory(stack: Stack) -> dict[str, Any]:
    """Of each process after the start, and after 1,000 memories: resident, and its own alone (not shared)."""
    stack.forget()
    with stack.service("redis") as service:
        _store(service, 1, "interactive")
        _store(service, 1, "bulk")
        started = _sizes(service)
        _store(service, COUNT, "bulk")
        return {"started": started, f"after_{COUNT}": _sizes(service)}


def _sizes(service: Service) -> dict[str, Any]:
    interactive, bulk = service.worker_lanes
    processes = {
        "api": service.api_pid,
        "api, aside": children(service.api_pid)[0],
        "worker": service.worker_pid,
        "worker, interactive": interactive,
        "worker, bulk": bulk,
    }
    processes |= {f"child {n}": pid for n, pid in enumerate(service.worker_children, 1)}
    return {name: _size(pid) for name, pid in processes.items()}


def _size(pid: int) -> dict[str, float]:
    """MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    own = kib["Private_Clean"] + kib["Private_Dirty"]
    return {"resident": round(kib["Rss"] / 1024, 1), "own": round(own / 1024, 1)}


def _settled(pid: int) -> float:
    """CPU seconds of a process and those below it, once they rest: what it starts loads on its own."""
    seconds = _used(pid)
    while True:
        time.sleep(1.0)
        before, seconds = seconds, _used(pid)
        if seconds - before < 0.1:
            return seconds


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(int(ticks) for ticks in fields[11:15]) / TICK
    return own + sum(_used(child) for child in children(pid))


def _modules(log: Path) -> int:
    return log.read_text().count("import time:")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="memrelay-startup-") as directory:
        for name in environment_in(Path(directory)).keys() ^ os.environ.keys():
            os.environ.pop(name, None)
        stack = Stack(Path(directory))
        with stack.queue:
            found = measure(stack)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
