"""The answer of ``/metrics``: this process's own metrics, then those of the whole service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from api.state import State
from backends.journal.journal import BOUNDS_MS
from backends.metrics import BREAKER_STATES, BY_NAME, DRIVER_STATES, OUTCOMES, SECONDS, Name
from backends.survey import Survey, survey
from memrelay.errors import Unavailable
from memrelay.jobs import deliver_queue
from memrelay.types import LANES

Rows = Iterable[tuple[Sequence[str], float]]
"""The values of labels, and a sample."""


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


async def exposition(state: State, reached: Mapping[str, bool]) -> bytes:
    """``reached``: by driver whether it answers. Without the journal the metrics of the service are missing,
    rather than old or 0."""
    try:
        seen = await survey(state.journal, list(state.sources.stores))
    except Unavailable:
        seen = None
    registry = CollectorRegistry()
    registry.register(_Families(_own(state, reached, seen is not None)))
    if seen is not None:
        registry.register(_Families(_service(seen, state)))
    return generate_latest(REGISTRY) + generate_latest(registry)


def _own(state: State, reached: Mapping[str, bool], journal_up: bool) -> Iterator[Metric]:
    stores = state.sources.stores.values()
    yield _gauge("memrelay_journal_up", [((), journal_up)])
    yield _gauge("memrelay_driver_up", [([name], up) for name, up in reached.items()])
    breakers = [([store.name], BREAKER_STATES[store.breaker.state]) for store in stores]
    yield _gauge("memrelay_breaker_state", breakers)
    failures = [row for store in stores for row in _parts(store.counts, "failures", 2)]
    yield _counter("memrelay_read_failures_total", failures)
    results = {"hit": state.queries["cache|hits"], "miss": state.queries["cache|misses"]}
    yield _counter("memrelay_query_embeddings_total", [([k], n) for k, n in results.items()])


def _service(seen: Survey, state: State) -> Iterator[Metric]:
    yield from _counted(seen.totals)
    yield from _histograms(seen.totals, list(seen.states))
    yield from _drivers(seen)
    yield from _queues(seen)
    memories, size = seen.used
    yield _gauge("memrelay_journal_memories", [((), memories)])
    yield _gauge("memrelay_journal_bytes", [((), size)])
    yield _gauge("memrelay_journal_limit_bytes", [((), state.settings.journal_bytes)])
    yield _gauge("memrelay_journal_redis_bytes", [((), seen.redis_bytes)])


def _counted(totals: Mapping[str, int]) -> Iterator[Metric]:
    accepted = [([lane], totals.get(f"accepted|{deliver_queue(lane)}", 0)) for lane in LANES]
    yield _counter("memrelay_accepted_memories_total", accepted)
    ended = [([driver, OUTCOMES[letter]], n) for (driver, letter), n in _parts(totals, "ended", 2)]
    yield _counter("memrelay_settled_memories_total", ended)
    yield _counter("memrelay_dead_letters_total", _parts(totals, "dead", 1))
    yield _counter("memrelay_retries_total", _parts(totals, "retried", 1))
    yield _counter("memrelay_leases_lost_total", [((), totals.get("leases", 0))])
    yield _counter("memrelay_store_failures_total", _parts(totals, "failures", 2))
    yield _counter("memrelay_breaker_openings_total", _parts(totals, "openings", 1))
    named: dict[Name, str] = {
        "memrelay_embedding_calls_total": "embedding|calls",
        "memrelay_embedding_failures_total": "embedding|failures",
        "memrelay_embedding_texts_total": "embedding|texts",
        "memrelay_embedding_tokens_total": "embedding|tokens",
        "memrelay_embedding_cache_hits_total": "cache|hits",
        "memrelay_embedding_cache_misses_total": "cache|misses",
    }
    for name, counted in named.items():
        yield _counter(name, [((), totals.get(counted, 0))])


def _histograms(totals: Mapping[str, int], drivers: Sequence[str]) -> Iterator[Metric]:
    searchable = _family("memrelay_time_to_searchable_seconds")
    bounds = [(f"{bound / 1000:g}", str(bound)) for bound in BOUNDS_MS]
    took = totals.get("searchable|sum", 0) / 1e3
    searchable.add_metric((), _buckets(totals, "searchable", bounds), took)
    yield searchable
    applied = _family("memrelay_apply_seconds")
    bounds = [(f"{bound:g}", f"{bound:g}") for bound in SECONDS]
    for driver in drivers:
        took = totals.get(f"apply|{driver}|sum", 0) / 1e6
        applied.add_metric([driver], _buckets(totals, f"apply|{driver}", bounds), took)
    yield applied


def _family(name: Name) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, BY_NAME[name].help, labels=BY_NAME[name].labels)


def _buckets(
    totals: Mapping[str, int], prefix: str, bounds: Sequence[tuple[str, str]]
) -> list[tuple[str, float]]:
    """``bounds`` as Prometheus has them and as the totals do, each without those below."""
    below = 0.0
    buckets = []
    for bound, name in (*bounds, ("+Inf", "inf")):
        below += totals.get(f"{prefix}|{name}", 0)
        buckets.append((bound, below))
    return buckets


def _drivers(seen: Survey) -> Iterator[Metric]:
    names = list(seen.states)
    yield _gauge("memrelay_backlog_memories", [([n], seen.states[n].backlog) for n in names])
    yield _gauge("memrelay_postponed_memories", [([n], seen.postponed[n]) for n in names])
    yield _gauge("memrelay_oldest_seconds", [([n], seen.ages.get(n, 0)) for n in names])
    rows = [
        ([name, state], (seen.states[name].state or "serving") == state)
        for name in names
        for state in DRIVER_STATES
    ]
    yield _gauge("memrelay_driver_state", rows)
    yield _gauge("memrelay_alarm", [([stage], 1) for stage in seen.alarms])


def _queues(seen: Survey) -> Iterator[Metric]:
    yield _gauge("memrelay_waiting_envelopes", [([q], n) for q, n in seen.waiting.items()])
    stalled = [([queue], seen.pulse.stalled.get(queue, 0)) for queue in seen.waiting]
    yield _gauge("memrelay_stalled_seconds", stalled)
    alive = [([lane], seen.pulse.alive_on(deliver_queue(lane))) for lane in LANES]
    yield _gauge("memrelay_workers", alive)


def _parts(totals: Mapping[str, int], kind: str, labels: int) -> list[tuple[list[str], int]]:
    """The totals of one kind, with the values of their labels."""
    rows = []
    for name, n in totals.items():
        first, *rest = name.split("|", labels)
        if first == kind and len(rest) == labels:
            rows.append((rest, n))
    return rows


def _counter(name: Name, rows: Rows) -> Metric:
    family = CounterMetricFamily(name, BY_NAME[name].help, labels=BY_NAME[name].labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def _gauge(name: Name, rows: Rows) -> Metric:
    family = GaugeMetricFamily(name, BY_NAME[name].help, labels=BY_NAME[name].labels)
    for labels, value in rows:
        family.add_metric(labels, float(value))
    return family
