"""``python -m benchmarks [--quick] [--only NAME,…] [--record | --check]``: one JSON on standard output.

``--record`` keeps the results in ``record.json`` and shows them in ``docs/performance.md``. ``--check``
fails if a ratio is worse by more than a third than the recorded one, four times in a row.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import (
    accept,
    figures,
    fresh,
    growth,
    indexes,
    ingest,
    lanes,
    noisy,
    quality,
    scaling,
    search,
    sizes,
    startup,
)
from benchmarks.figures import Results
from benchmarks.neighbours import measure as neighbours
from benchmarks.stack import ROOT, Stack

TRIES = 4


def redis(stack: Stack, *, quick: bool) -> Results:
    with stack.redis, stack.service("redis") as service:
        count, rounds = (4_000, 3) if quick else (20_000, 5)
        return {
            "ingest": ingest.measure(stack, service, "redis", count=count, rounds=rounds),
            "search": search.measure(stack, service, "redis", rounds=rounds),
            "fresh": fresh.measure(stack, service, count=count, rounds=1 if quick else 3),
        }


def weaviate(stack: Stack, *, quick: bool) -> Results:
    with stack.weaviate:
        return _slower(stack, "weaviate", quick=quick)


def pgvector(stack: Stack, *, quick: bool) -> Results:
    with stack.postgres:
        return _slower(stack, "pgvector", quick=quick)


def _slower(stack: Stack, kind: str, *, quick: bool) -> Results:
    count, rounds = (2_000, 1) if quick else (8_000, 3)
    with stack.service(kind) as service:
        return {
            "ingest": ingest.measure(stack, service, kind, count=count, rounds=rounds),
            "search": search.measure(stack, service, kind, rounds=rounds),
        }


def accepting(stack: Stack, *, quick: bool) -> Results:
    with stack.redis, stack.service("redis") as service:
        service.stop_worker()
        return accept.measure(stack, service, seconds=2.0 if quick else 5.0, rounds=3)


def beside_a_flood(stack: Stack, *, quick: bool) -> Results:
    with stack.redis:
        return lanes.measure(stack, samples=200, rounds=1 if quick else 3)


def beside_a_noisy_tenant(stack: Stack, *, quick: bool) -> Results:
    with stack.redis:
        return noisy.measure(stack, samples=300, rounds=1 if quick else 5)


def beside_neighbours(stack: Stack, *, quick: bool) -> Results:
    return neighbours.measure(stack, quick=quick)


def growing(kind: str) -> Callable[..., Results]:
    def measure(stack: Stack, *, quick: bool) -> Results:
        marks = (10_000, 30_000) if quick else (10_000, 100_000, 1_000_000)
        return growth.measure(stack, kind, marks=marks)

    return measure


def more_workers(stack: Stack, *, quick: bool) -> Results:
    return scaling.measure(stack, rounds=1 if quick else 3)


def found(stack: Stack, *, quick: bool) -> Results:
    return quality.measure(stack, quick=quick)


def by_indexes(stack: Stack, *, quick: bool) -> Results:
    return indexes.measure(stack, quality.texts_in_no_order(), quick=quick)


def starting(stack: Stack, *, quick: bool) -> Results:
    return startup.measure(stack, rounds=1 if quick else 5)


def bytes_kept(stack: Stack, *, quick: bool) -> Results:
    return sizes.measure(stack, 4_000 if quick else 20_000)


BENCHMARKS: dict[str, Callable[..., Results]] = {
    "redis": redis,
    "accept": accepting,
    "lanes": beside_a_flood,
    "noisy": beside_a_noisy_tenant,
    "weaviate": weaviate,
    "pgvector": pgvector,
    "scaling": more_workers,
    "growth": growing("redis"),
    "growth-pgvector": growing("pgvector"),
    "growth-sqlite": growing("sqlite"),
    "growth-weaviate": growing("weaviate"),
    "quality": found,
    "indexes": by_indexes,
    "startup": starting,
    "neighbours": beside_neighbours,
    "sizes": bytes_kept,
}
ASKED_FOR = (
    *(name for name in BENCHMARKS if name.startswith("growth")),
    *("indexes", "neighbours", "quality", "sizes", "startup"),
)
"""Run only where they are named."""


def run(names: list[str], *, quick: bool) -> Results:
    """What was measured, by benchmark, each with where and when it was."""
    results: Results = {}
    with tempfile.TemporaryDirectory(prefix="memrelay-bench-") as directory:
        stack = Stack(Path(directory))
        with stack.queue:
            for name in names:
                stack.forget()
                print(f"{name} …", file=sys.stderr)
                here = _here()
                results[name] = BENCHMARKS[name](stack, quick=quick) | {"run": here}
    return results


def _here() -> dict[str, Any]:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": described.stdout.strip(),
        "cpus": _cpus(),
        "python": platform.python_version(),
    }


def _cpus() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} × {models[0]}" if models else platform.machine()


def check(names: list[str]) -> int:
    """The exit status. What fell is measured again: a busy moment is none of ours."""
    recorded = figures.load()["quick"]
    for attempt in range(TRIES):
        results = run(names, quick=True)
        found = list(figures.fallen(results, recorded))
        for figure, value, before in found:
            print(f"{figure.name} is {value:g}, it was {before:g}: {figure.what}", file=sys.stderr)
        if not found:
            print(json.dumps(results, indent=1))
            return 0
        names = sorted({figure.place[0] for figure, _, _ in found})
        print(f"attempt {attempt + 1} of {TRIES}", file=sys.stderr)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="one short run of each")
    parser.add_argument("--only", metavar="NAME,…", help=f"of {', '.join(BENCHMARKS)}")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--record", action="store_true", help="keep the results")
    how.add_argument("--check", action="store_true", help="hold a quick run against the record")
    options = parser.parse_args()
    names = [name for name in BENCHMARKS if name not in ASKED_FOR]
    if options.only:
        names = options.only.split(",")
        if unknown := [name for name in names if name not in BENCHMARKS]:
            parser.error(f"--only: there is no {unknown[0]}; there are: {', '.join(BENCHMARKS)}")
    if options.check:
        return check(names)
    results = run(names, quick=options.quick)
    if options.record:
        figures.keep("quick" if options.quick else "full", results)
    print(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
