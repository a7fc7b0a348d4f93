"""Accepting single memories, 64 clients, against a handler that does nothing and one ``send_task`` each."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.load import run_load
from benchmarks.stack import Stack
from benchmarks.texts import memories
from tests.service import Service

CLIENTS = 64


def _new() -> list[dict[str, Any]]:
    """Memories without ids of their own: none of them takes the place of another."""
    rows = memories(500, users=100, seed=7)
    for row in rows:
        del row["id"]
    return rows


def measure(stack: Stack, service: Service, *, seconds: float, rounds: int) -> dict[str, Any]:
    """Requests a second of each, in turn. Workers are stopped: this is about accepting alone."""
    bodies = [json.dumps({"memories": [row]}) for row in _new()]
    rates: dict[str, list[float]] = {"nothing": [], "send_task": [], "memrelay": []}
    p99 = []
    with stack.nothing() as port:
        for _ in range(rounds):
            for name, at, path in (
                ("nothing", port, "/nothing"),
                ("memrelay", service.port, "/v1/memories"),
                ("send_task", port, "/send-task"),
            ):
                report = run_load(
                    port=at, path=path, bodies=bodies, clients=CLIENTS, seconds=seconds
                )
                assert set(report["statuses"]) == {"202"}, report["statuses"]
                rates[name].append(report["rate"])
                if name == "memrelay":
                    p99.append(report["p99_ms"])

    def ratio(other: str) -> float:
        pairs = sorted(a / b for a, b in zip(rates["memrelay"], rates[other], strict=True))
        return round(pairs[len(pairs) // 2], 3)

    return {
        "clients": CLIENTS,
        "requests_per_s": rates,
        "memrelay_p99_ms": p99,
        "ratio_over_nothing": ratio("nothing"),
        "ratio_over_send_task": ratio("send_task"),
    }
