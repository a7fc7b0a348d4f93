"""``python -m tests.chaos.migration``: one store takes another's place, while everything goes on.

Memories are written, deleted by id and by filter, and searched for all the while; when both have one digest
the first is retired. One line of JSON; the exit status is 1 unless the digests are equal, every store is what
the client's ledger says, and every search was answered.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from deploy.native.postgres import PostgresServer
from deploy.native.redis import RedisServer
from deploy.native.server import Server
from deploy.native.weaviate import WeaviateServer
from memrelay.embedded.apps import app_command, app_environment
from memrelay.embedded.ports import free_port
from tests.chaos.outage import AT_ONCE, Searches, quantile
from tests.oracle import SOUND, judge
from tests.rig import WORDS, Rig, SqliteFile, Writer, memory, redis_servers

type Store = Server | SqliteFile
PAUSE = 0.05
SECONDS = 1800.0


def _weaviate(directory: Path, stack: ExitStack) -> Store:
    return stack.enter_context(WeaviateServer(directory, free_port(), free_port()))


def _redis(directory: Path, stack: ExitStack) -> Store:
    return stack.enter_context(RedisServer(directory, free_port()))


def _pgvector(directory: Path, stack: ExitStack) -> Store:
    return stack.enter_context(PostgresServer(directory, free_port()))


STORES: Mapping[str, Callable[[Path, ExitStack], Store]] = {
    "redis": _redis,
    "weaviate": _weaviate,
    "pgvector": _pgvector,
    "sqlite": lambda directory, stack: SqliteFile(directory.with_suffix(".db")),
}
"""What a driver of each type is given here. A new type needs a line here, and one in ``Rig.settings``."""


class Writes:
    """One client that writes and deletes all the time, in the users ``u0`` to ``u9``."""

    def __init__(self, writer: Writer, count: int) -> None:
        self._writer = writer
        self._count = count
        self._chance = random.Random(count)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.memories = 0
        self.deletes = 0

    def _run(self) -> None:
        turn = 0
        while not self._stopped.wait(PAUSE):
            turn += 1
            ids = [f"m{n}" for n in self._chance.sample(range(2 * self._count), 8)]
            if turn % 100 == 0:
                self._writer.delete_where("user_id", f"u{turn // 100 % 10}")
                self.deletes += 1
            elif turn % 10 == 0:
                self._writer.delete(ids)
                self.deletes += len(ids)
            else:
                self._writer.put([a_memory(id, self._chance) for id in ids])
                self.memories += len(ids)

    def __enter__(self) -> Writes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()


def a_memory(id: str, chance: random.Random) -> dict[str, Any]:
    text = " ".join(chance.choices(WORDS, k=20))
    return memory(id, text) | {"user_id": f"u{chance.randrange(10)}"}


def migrate(rig: Rig, frm: str, to: str, *more: str) -> tuple[int, dict[str, Any]]:
    """The command's process: its exit status and its result."""
    done = subprocess.run(
        app_command("backends.migration", [frm, to, "default", *more]),
        env=app_environment() | rig.service.env,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, next((line["result"] for line in told if "result" in line), {})


def run(rig: Rig, frm: str, to: str, count: int) -> dict[str, Any]:
    writer, chance = rig.writer(), random.Random(7)
    for first in range(0, count, AT_ONCE):
        ids = range(first, min(first + AT_ONCE, count))
        writer.put([a_memory(f"m{n}", chance) for n in ids], lane="bulk")
    rig.wait_drained(SECONDS)
    searches = Searches(rig.service.url)
    began = time.monotonic()
    searches.start()
    with Writes(rig.writer(), count) as writes:
        status, result = migrate(rig, frm, to, "--retire")
        seconds = time.monotonic() - began
        time.sleep(2)
    searches.stop()
    rig.wait_drained(120)
    answered = [seconds for code, seconds, _ in searches.answers if code == 200]
    return {
        "from": frm,
        "to": to,
        "memories": count,
        "written": writes.memories,
        "deletes": writes.deletes,
        "refused": len(writer.refusals),
        "seconds": round(seconds, 1),
        "equal": status == 0 and result.get("equal", False),
        "digests": {name: row["digest"] for name, row in result.get("drivers", {}).items()},
        "read_again": result.get("read_again"),
        "searches": len(searches.answers),
        "answered": round(len(answered) / len(searches.answers), 5),
        "p99": quantile(answered, 0.99),
        "served_last_by": searches.answers[-1][2],
        "sound": judge(rig.ledger, rig.settings(to), rig.scope) == SOUND,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.migration")
    parser.add_argument("--memories", type=int, default=50_000)
    parser.add_argument("--from", dest="frm", choices=sorted(STORES), default="redis")
    parser.add_argument("--to", choices=sorted(STORES), default="pgvector")
    given = parser.parse_args()
    names = [given.frm, given.to if given.to != given.frm else f"{given.to}2"]
    with (
        tempfile.TemporaryDirectory() as scratch,
        redis_servers(Path(scratch)) as start,
        ExitStack() as stack,
    ):
        stores = {
            name: STORES[kind](Path(scratch) / name, stack)
            for name, kind in zip(names, (given.frm, given.to), strict=True)
        }
        env = {"MEMRELAY_SOURCES": json.dumps({"default": {"drivers": names[:1]}})}
        rig = Rig(Path(scratch), start, stores=stores, env=env)
        try:
            report = run(rig.start(), *names, given.memories)
        finally:
            rig.close()
    sys.stdout.write(json.dumps(report) + "\n")
    return 0 if report["equal"] and report["sound"] and report["answered"] == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
