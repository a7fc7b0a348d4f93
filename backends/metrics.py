"""The metrics: one table of all names, which ``/metrics`` serves and ``docs/metrics.md`` shows.

``python -m backends.metrics`` prints the table of that page.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Scope = Literal["service", "process"]
"""``service``: of the whole installation, out of the journal, the same from every API. ``process``: each API
has its own."""

Name = Literal[
    "memrelay_time_to_searchable_seconds",
    "memrelay_accepted_memories_total",
    "memrelay_settled_memories_total",
    "memrelay_dead_letters_total",
    "memrelay_retries_total",
    "memrelay_leases_lost_total",
    "memrelay_apply_seconds",
    "memrelay_store_failures_total",
    "memrelay_breaker_openings_total",
    "memrelay_embedding_calls_total",
    "memrelay_embedding_failures_total",
    "memrelay_embedding_texts_total",
    "memrelay_embedding_tokens_total",
    "memrelay_embedding_cache_hits_total",
    "memrelay_embedding_cache_misses_total",
    "memrelay_backlog_memories",
    "memrelay_postponed_memories",
    "memrelay_oldest_seconds",
    "memrelay_driver_state",
    "memrelay_alarm",
    "memrelay_waiting_envelopes",
    "memrelay_stalled_seconds",
    "memrelay_workers",
    "memrelay_journal_memories",
    "memrelay_journal_bytes",
    "memrelay_journal_limit_bytes",
    "memrelay_journal_redis_bytes",
    "memrelay_journal_up",
    "memrelay_driver_up",
    "memrelay_breaker_state",
    "memrelay_http_requests_total",
    "memrelay_http_request_seconds",
    "memrelay_searches_total",
    "memrelay_search_fallbacks_total",
    "memrelay_search_seconds",
    "memrelay_read_failures_total",
    "memrelay_query_embeddings_total",
]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of the histograms of what one process waits for."""
OUTCOMES = {"a": "applied", "s": "superseded", "f": "failed", "n": "needs_sync", "c": "canceled"}
DRIVER_STATES = ("serving", "away", "syncing")
BREAKER_STATES = {"closed": 0, "half-open": 1, "open": 2}


@dataclass(frozen=True, slots=True)
class Metric:
    """No label names a namespace, a user or an id: each has as many values as settings and code give it."""

    name: Name
    kind: Kind
    scope: Scope
    labels: tuple[str, ...]
    help: str


METRICS = (
    Metric(
        "memrelay_time_to_searchable_seconds",
        "histogram",
        "service",
        (),
        "From accepting a memory until the first driver of its source that is not away has it.",
    ),
    Metric(
        "memrelay_accepted_memories_total",
        "counter",
        "service",
        ("lane",),
        "Memories (and deletes) that the journal has taken in.",
    ),
    Metric(
        "memrelay_settled_memories_total",
        "counter",
        "service",
        ("driver", "outcome"),
        "Memories that a driver has ended: applied, superseded, failed, needs_sync or canceled.",
    ),
    Metric(
        "memrelay_dead_letters_total",
        "counter",
        "service",
        ("cause",),
        "Memories that became dead letters, by the code of the error.",
    ),
    Metric(
        "memrelay_retries_total",
        "counter",
        "service",
        ("stage",),
        "Envelopes set down to be tried again: by a driver, or (deliver) before any driver had them.",
    ),
    Metric(
        "memrelay_leases_lost_total",
        "counter",
        "service",
        (),
        "Envelopes whose lease ran out: their worker died, froze or was too slow.",
    ),
    Metric(
        "memrelay_apply_seconds",
        "histogram",
        "service",
        ("driver",),
        "What a claim's writes to one driver took, waiting for locks and turns included.",
    ),
    Metric(
        "memrelay_store_failures_total",
        "counter",
        "service",
        ("driver", "code"),
        "Calls of a driver by workers that failed for now, by the code of the error.",
    ),
    Metric(
        "memrelay_breaker_openings_total",
        "counter",
        "service",
        ("driver",),
        "Times that a worker's circuit breaker opened.",
    ),
    Metric(
        "memrelay_embedding_calls_total",
        "counter",
        "service",
        (),
        "Calls of an embedding model by workers; a remote one may split one into several requests.",
    ),
    Metric(
        "memrelay_embedding_failures_total",
        "counter",
        "service",
        (),
        "Those of them that failed.",
    ),
    Metric(
        "memrelay_embedding_texts_total",
        "counter",
        "service",
        (),
        "Texts that workers gave to a model.",
    ),
    Metric(
        "memrelay_embedding_tokens_total",
        "counter",
        "service",
        (),
        "Their tokens, estimated: a third of the bytes.",
    ),
    Metric(
        "memrelay_embedding_cache_hits_total",
        "counter",
        "service",
        (),
        "Texts of workers whose vector was in the cache (remote models only).",
    ),
    Metric(
        "memrelay_embedding_cache_misses_total",
        "counter",
        "service",
        (),
        "Those whose vector was not.",
    ),
    Metric(
        "memrelay_backlog_memories",
        "gauge",
        "service",
        ("driver",),
        "How far a driver is behind: memories that are accepted and not ended by it.",
    ),
    Metric(
        "memrelay_postponed_memories",
        "gauge",
        "service",
        ("driver",),
        "Those of them that it was asked to take and did not: they wait in its own queue.",
    ),
    Metric(
        "memrelay_oldest_seconds",
        "gauge",
        "service",
        ("driver",),
        "Age of the oldest envelope that a driver has not ended; 0 if none is among the oldest.",
    ),
    Metric(
        "memrelay_driver_state",
        "gauge",
        "service",
        ("driver", "state"),
        "1 for the state that a driver is in: serving, away (detached) or syncing.",
    ),
    Metric(
        "memrelay_alarm",
        "gauge",
        "service",
        ("stage",),
        "1 while most of what a stage is given is refused, and held back.",
    ),
    Metric(
        "memrelay_waiting_envelopes",
        "gauge",
        "service",
        ("queue",),
        "Envelopes that wait for a worker.",
    ),
    Metric(
        "memrelay_stalled_seconds",
        "gauge",
        "service",
        ("queue",),
        "How long nobody has got on with a queue in which work waits; 0 below a minute.",
    ),
    Metric(
        "memrelay_workers",
        "gauge",
        "service",
        ("lane",),
        "Workers that gave a sign of life within ten seconds.",
    ),
    Metric(
        "memrelay_journal_memories",
        "gauge",
        "service",
        (),
        "Memories that the journal holds because not every driver has ended them.",
    ),
    Metric(
        "memrelay_journal_bytes",
        "gauge",
        "service",
        (),
        "Bytes of these, and of dead letters; what backpressure looks at.",
    ),
    Metric(
        "memrelay_journal_limit_bytes",
        "gauge",
        "service",
        (),
        "Their bound (setting journal_bytes), beyond which writes are 429.",
    ),
    Metric(
        "memrelay_journal_redis_bytes",
        "gauge",
        "service",
        (),
        "Memory that the journal's Redis uses in all.",
    ),
    Metric(
        "memrelay_journal_up",
        "gauge",
        "process",
        (),
        "1 if the journal answered this scrape; without it the metrics of the service are missing.",
    ),
    Metric(
        "memrelay_driver_up",
        "gauge",
        "process",
        ("driver",),
        "1 if the driver's store answered this scrape.",
    ),
    Metric(
        "memrelay_breaker_state",
        "gauge",
        "process",
        ("driver",),
        "Of this API's circuit breaker: 0 closed, 1 half-open, 2 open.",
    ),
    Metric(
        "memrelay_http_requests_total",
        "counter",
        "process",
        ("route", "method", "status"),
        "Requests, by the route's pattern.",
    ),
    Metric(
        "memrelay_http_request_seconds",
        "histogram",
        "process",
        ("route",),
        "Until an answer began.",
    ),
    Metric(
        "memrelay_searches_total",
        "counter",
        "process",
        ("mode",),
        "Searches that were answered, by the mode that served.",
    ),
    Metric(
        "memrelay_search_fallbacks_total",
        "counter",
        "process",
        (),
        "Those that another driver than the first, or one half of hybrid alone, answered.",
    ),
    Metric(
        "memrelay_search_seconds",
        "histogram",
        "process",
        ("driver",),
        "What one driver took to answer a search, with the look at what it has not deleted yet.",
    ),
    Metric(
        "memrelay_read_failures_total",
        "counter",
        "process",
        ("driver", "code"),
        "Searches and reads that a driver could not answer for now, by the code of the error.",
    ),
    Metric(
        "memrelay_query_embeddings_total",
        "counter",
        "process",
        ("result",),
        "Queries to be embedded, by whether their vector was remembered: hit or miss.",
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}


def table() -> str:
    """All of them in Markdown."""
    lines = ["| name | kind | labels | of | what it tells |", "|---|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        row = (f"`{metric.name}`", metric.kind, labels, metric.scope, metric.help)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
