"""``python -m benchmarks [--quick] [--only NAME]``: one JSON on standard output."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import accept, ingest, lanes, search, sizes
from benchmarks.stack import Stack

TARGETS = {
    "ingest_redis": 0.8,
    "ingest_weaviate": 0.9,
    "accept_over_nothing": 0.6,
    "accept_over_send_task": 3.0,
    "search_over_bare": 1.5,
    "lanes_p95_ratio": 2.0,
}


def run(stack: Stack, only: str | None, *, quick: bool) -> dict[str, Any]:
    rounds = 1 if quick else 3
    results: dict[str, Any] = {}
    if only in (None, "redis", "accept"):
        with stack.redis:
            if only != "accept":
                with stack.service("redis") as service:
                    count = 4_000 if quick else 20_000
                    results["ingest_redis"] = ingest.measure(
                        stack, service, "redis", count=count, rounds=rounds
                    )
                    results["search_redis"] = search.measure(stack, service, "redis", rounds=rounds)
            stack.forget()
            with stack.service("redis") as service:
                service.stop_worker()
                results["accept"] = accept.measure(
                    stack, service, seconds=2.0 if quick else 5.0, rounds=rounds
                )
    if only in (None, "lanes"):
        stack.forget()
        with stack.redis:
            results["lanes"] = lanes.measure(stack, samples=200, rounds=1 if quick else 3)
    if only in (None, "weaviate"):
        stack.forget()
        with stack.weaviate, stack.service("weaviate") as service:
            count = 2_000 if quick else 8_000
            results["ingest_weaviate"] = ingest.measure(
                stack, service, "weaviate", count=count, rounds=rounds
            )
            results["search_weaviate"] = search.measure(stack, service, "weaviate", rounds=rounds)
    if only == "sizes":
        results["bytes_per_memory"] = sizes.measure(stack, 4_000 if quick else 20_000)
    return results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--only", choices=("redis", "weaviate", "accept", "lanes", "sizes"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memrelay-bench-") as directory:
        stack = Stack(Path(directory))
        with stack.queue:
            results = run(stack, options.only, quick=options.quick)
    sys.stdout.write(json.dumps({"targets": TARGETS, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
