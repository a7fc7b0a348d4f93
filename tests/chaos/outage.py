"""``python -m tests.chaos.outage``: one store down for the whole of a run.

Memories are accepted and searches answered all the while; when it is back, it is measured how long
it takes until it holds everything. One line of JSON; the exit status is 1 if something is not sound.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from tests.oracle import SOUND, judge
from tests.rig import Rig, memory, redis_servers, wait_until

QUIET_SEARCHES = 300
AT_ONCE = 500
CONVERGE_SECONDS = 900.0


class Searches:
    """One client that searches all the time; (status, seconds, served by) of every answer."""

    def __init__(self, url: str) -> None:
        self.answers: list[tuple[int, float, str]] = []
        self._http = httpx.Client(base_url=url, timeout=10)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def once(self) -> None:
        began = time.monotonic()
        try:
            answer = self._http.post("/v1/search", json={"query": "what was written", "top_k": 5})
            served = ",".join(answer.json().get("served_by", []))
            self.answers.append((answer.status_code, time.monotonic() - began, served))
        except httpx.TransportError:
            self.answers.append((0, time.monotonic() - began, ""))

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.once()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._http.close()


def quantile(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4)


def run(rig: Rig, store: str, count: int) -> dict[str, Any]:
    writer = rig.writer()
    writer.put([memory(f"q{n}", f"what was written quietly, {n}") for n in range(200)])
    rig.wait_drained(60)
    searches = Searches(rig.service.url)
    for _ in range(QUIET_SEARCHES):
        searches.once()
    quiet = [seconds for _, seconds, _ in searches.answers]
    searches.answers.clear()
    rig.kill(store)
    down_since = time.monotonic()
    searches.start()
    for first in range(0, count, AT_ONCE):
        ids = range(first, min(first + AT_ONCE, count))
        writer.put(
            [memory(f"m{n}", f"what was written while it was down, number {n}") for n in ids]
        )
    accepted_in = time.monotonic() - down_since
    others = [name for name in rig.stores if name != store]
    wait_until("the others to have it all", lambda: _only(rig, store), CONVERGE_SECONDS)
    searches.stop()
    answers = searches.answers
    rig.revive(store)
    back = time.monotonic()
    wait_until("it to converge", lambda: _whole(rig, store), CONVERGE_SECONDS)
    converged = time.monotonic() - back
    verdicts = {name: judge(rig.ledger, rig.settings(name), rig.scope) for name in rig.stores}
    answered = [seconds for status, seconds, _ in answers if status == 200]
    return {
        "store": store,
        "others": others,
        "memories": count,
        "accepted_per_second": round(count / accepted_in),
        "refused": len(writer.refusals),
        "searches": len(answers),
        "answered": round(len(answered) / len(answers), 5),
        "slowest_search": round(max(answered), 3),
        "p99_quiet": quantile(quiet, 0.99),
        "p99_down": quantile(answered, 0.99),
        "converged_seconds": round(converged, 1),
        "sound": all(verdict == SOUND for verdict in verdicts.values()),
    }


def _only(rig: Rig, store: str) -> bool:
    """Nothing waits but for the store that is down."""
    return all(stage.decode().endswith(f"/store.{store}") for stage in rig.due())


def _whole(rig: Rig, store: str) -> bool:
    """Nothing waits, and it serves: what it may have been spared has come to it by reconcile."""
    if rig.due():
        return False
    drivers = httpx.get(f"{rig.service.url}/v1/drivers", timeout=10).json()["drivers"]
    return all(row["state"] == "serving" for row in drivers)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outage")
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--store", choices=["redis", "replica"], default="redis")
    parser.add_argument("--detach", action="store_true", help="with a bound that it passes")
    given = parser.parse_args()
    env = {"MEMRELAY_DRIVER_BACKLOG": "5000"} if given.detach else {}
    with tempfile.TemporaryDirectory() as scratch, redis_servers(Path(scratch)) as start:
        rig = Rig(Path(scratch), start, env=env)
        try:
            report = run(rig.start(), given.store, given.memories) | {"detached": given.detach}
        finally:
            rig.close()
    sys.stdout.write(json.dumps(report) + "\n")
    return 0 if report["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())
