"""Worker processes 1, 2 and 4 where neither store nor processor is the limit: a model of 50 ms a call.

A worker asks it for ``TEXTS`` texts at a time, one call after the other, so that waiting for it is nearly
all of its time; with larger calls one process is at the processor's limit before the model's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from benchmarks.ingest import served
from benchmarks.stack import Stack
from benchmarks.texts import memories
from tests.model import Model

PROCESSES = (1, 2, 4)
LATENCY_MS = 50
TEXTS = 16
DIMENSIONS = 64
SECONDS = 15


def measure(stack: Stack, *, rounds: int) -> dict[str, Any]:
    """Memories a second by number of processes, rounds in turn, and what each is over one process."""
    rates: dict[int, list[float]] = {count: [] for count in PROCESSES}
    with stack.redis, Model(DIMENSIONS, latency_ms=LATENCY_MS) as model:
        options = {
            "api_base": model.url,
            "api_key": "none",
            "concurrency": 1,
            "inputs_per_call": TEXTS,
        }
        source = {"drivers": ["redis"], "embedding": "openai/stub", "dimensions": DIMENSIONS}
        for index in range(rounds):
            for count in PROCESSES:
                stack.forget()
                service = stack.service(
                    "redis",
                    MEMRELAY_SOURCES=json.dumps({"default": source}),
                    MEMRELAY_MODELS=json.dumps({"openai/stub": options}),
                    MEMRELAY_WORKER_CONCURRENCY=str(count),
                )
                with service:
                    seed = 1000 * index + count
                    served(service, memories(500 * count, users=100, seed=2 * seed, prefix="warm"))
                    most = SECONDS * count * TEXTS * 1000 // LATENCY_MS
                    rows = memories(most, users=100, seed=2 * seed + 1)
                    rates[count].append(served(service, rows))
    return {
        "per_s": {str(count): [round(rate) for rate in rates[count]] for count in PROCESSES},
        **{
            f"{count}_over_1": _median(
                many / one for many, one in zip(rates[count], rates[1], strict=True)
            )
            for count in PROCESSES[1:]
        },
    }


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return round(ordered[len(ordered) // 2], 2)
