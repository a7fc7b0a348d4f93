"""One tenant floods the bulk lane: ``python -m benchmarks.flood PORT``, until SIGTERM.

``CLIENTS`` clients send requests of 1,000 memories, each as soon as the last is answered, and one
imports NDJSON; all at the lowest priority, since in life they have a machine of their own. Prints one
JSON ``{seconds, memories, refused, imported}`` at its end.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

import uvloop

from benchmarks.beside import ending, until
from benchmarks.load import Load
from benchmarks.texts import memories
from memrelay.client import AsyncMemrelay
from memrelay.errors import MemrelayError
from memrelay.jobs import MAX_COUNT

CLIENTS = 3
BODIES = 4
IMPORT_LINES = 20_000
FOREVER = 3600.0


async def flood(port: int) -> dict[str, Any]:
    """Until SIGTERM. Memories have no ids of their own: every one of them is new."""
    rows = memories(BODIES * MAX_COUNT, users=1000, seed=11)
    for row in rows:
        del row["id"]
    bodies = [
        json.dumps({"memories": rows[start : start + MAX_COUNT], "lane": "bulk"})
        for start in range(0, len(rows), MAX_COUNT)
    ]
    load = Load(
        {
            "port": port,
            "path": "/v1/memories",
            "bodies": bodies,
            "clients": CLIENTS,
            "seconds": FOREVER,
        }
    )
    lines = [json.dumps(row) for row in rows]
    taken = {"imported": 0}
    began, ended = time.perf_counter(), ending()
    await until(ended, load.run(), _import(port, lines, taken))
    accepted = load.statuses.pop(202, 0)
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "memories": accepted * MAX_COUNT,
        "refused": load.statuses,
        **taken,
    }


async def _import(port: int, lines: list[str], taken: dict[str, int]) -> None:
    """One import after another, counted in ``taken`` part by part; a refusal is tried again."""
    many = lines * (IMPORT_LINES // len(lines))
    async with AsyncMemrelay(f"http://127.0.0.1:{port}", patience=FOREVER) as client:
        while True:
            before = taken["imported"]

            def told(done: Any, before: int = before) -> None:
                taken["imported"] = before + done.accepted

            with contextlib.suppress(MemrelayError):
                await client.import_ndjson(
                    many, idempotency_key=f"flood-{time.time_ns()}", progress=told
                )


if __name__ == "__main__":
    json.dump(uvloop.run(flood(int(sys.argv[1]))), sys.stdout)
