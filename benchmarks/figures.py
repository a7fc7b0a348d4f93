"""The figures that are kept: what each is, what it should be, and how it is told.

``record.json`` has those of the last full run and of the last quick one. ``docs/performance.md`` shows the
full one as a table; CI holds a quick run against the quick one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["full", "quick"]
Results = dict[str, Any]
RECORD = Path(__file__).parent / "record.json"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
TOLERATED = 2 / 3
"""Of what a ratio was; machines are noisy, and a mechanism that breaks costs more than a third."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio. ``place`` is where it is in the results: benchmark, and keys below that."""

    place: tuple[str, ...]
    what: str
    target: float | None
    low: bool = False
    """It should be at most ``target``; else at least. Without a target it is for comparison."""
    steady: bool = False
    """A quick run tells it well enough to be held against."""

    @property
    def name(self) -> str:
        return ".".join(self.place)

    def of(self, results: Mapping[str, Any]) -> float | None:
        """None if it was not measured."""
        found: Any = results
        for key in self.place:
            if key not in found:
                return None
            found = found[key]
        return float(found)

    def good(self, value: float) -> bool:
        if self.target is None:
            return True
        return value <= self.target if self.low else value >= self.target

    def fell(self, value: float, recorded: float) -> bool:
        """Whether it is worse than a third below what it was."""
        return value * TOLERATED > recorded if self.low else value < recorded * TOLERATED


_INGEST = (
    "bulk ingest over HTTP until the job says stored (two worker processes), over a bare loop with the same "
    "embedder and driver: "
)
_SEARCH = "search over HTTP, p50 over that of the bare driver call: "


def _neighbours() -> Iterator[Figure]:
    """What one would pick instead, by its place in the results."""
    for store, name in (("redis", "Redis"), ("pgvector", "PostgreSQL")):
        for side, what, target in (
            ("mem0", "mem0's `add(infer=False)` as it comes", 10.0),
            ("mem0, no history", "the same, its history kept in memory", 10.0),
            ("langchain", "LangChain's `add_texts`", None),
        ):
            place = ("neighbours", store, "memrelay_over", side)
            yield Figure(place, f"bulk ingest until stored over {what}: {name}", target)
    yield Figure(
        ("neighbours", "celery", "memrelay_over", "one task a memory"),
        "bulk ingest until stored over one Celery task a memory, two worker processes each",
        5.0,
    )
    for side, what in (
        ("agent-memory-server", "as it comes"),
        ("agent-memory-server, no docket", "without Docket"),
    ):
        yield Figure(
            ("neighbours", "agent-memory-server", "accepted", "memrelay_over", side),
            f"accepting single memories over agent-memory-server, {what}",
            10.0,
        )


FIGURES = (
    Figure(("redis", "ingest", "ratio"), _INGEST + "Redis", 1.0, steady=True),
    Figure(("weaviate", "ingest", "ratio"), "the same: Weaviate", 1.0),
    Figure(("pgvector", "ingest", "ratio"), "the same: pgvector", 1.0),
    Figure(
        ("accept", "ratio_over_nothing"),
        "accepting single memories, 64 clients, over an empty handler of FastAPI's",
        0.7,
        steady=True,
    ),
    Figure(
        ("accept", "ratio_over_send_task"),
        "the same over one `send_task` a request",
        3.0,
    ),
    Figure(("redis", "search", "ratio"), _SEARCH + "Redis", 1.2, low=True, steady=True),
    Figure(("weaviate", "search", "ratio"), "the same: Weaviate", 1.2, low=True),
    Figure(("pgvector", "search", "ratio"), "the same: pgvector", 1.2, low=True),
    Figure(
        ("redis", "search", "p99_over_p50"), "p99 of a search over its p50: Redis", 3.0, low=True
    ),
    Figure(("weaviate", "search", "p99_over_p50"), "the same: Weaviate", 3.0, low=True),
    Figure(("pgvector", "search", "p99_over_p50"), "the same: pgvector", 3.0, low=True),
    Figure(
        ("redis", "fresh", "half_ms", "p50"),
        "milliseconds from sending a single write until a search finds it, p50, at half of the bulk rate, "
        "Redis",
        100.0,
        low=True,
    ),
    Figure(
        ("lanes", "apart", "p95_ratio"),
        "a single write until it is stored, p95, while another namespace floods the bulk lane through "
        "another API process, over its quiet time",
        2.0,
        low=True,
    ),
    Figure(
        ("lanes", "together", "p95_ratio"), "the same: through the same API process", 2.0, low=True
    ),
    Figure(
        ("noisy", "in_50s", "p99_ratio"),
        "accepting a single write, p99, while another tenant sends ten times its quota in requests of 50, "
        "over its quiet time",
        1.2,
        low=True,
    ),
    Figure(("noisy", "in_1s", "p99_ratio"), "the same: in requests of one", 1.2, low=True),
    Figure(
        ("scaling", "2_over_1"),
        "two worker processes over one, beside a model that takes 50 ms a call",
        1.8,
    ),
    Figure(("scaling", "4_over_1"), "the same: four over one", 3.4),
    Figure(
        ("growth", "last_over_first"),
        "ingest at 1,000,000 memories of 10,000 users over that at 100,000: Redis",
        0.9,
    ),
    Figure(("growth-pgvector", "last_over_first"), "the same: pgvector", 0.9),
    Figure(("growth-sqlite", "last_over_first"), "the same: SQLite", 0.9),
    Figure(("growth-weaviate", "last_over_first"), "the same: Weaviate", 0.9),
    Figure(
        ("quality", "least_recall"),
        "recall@10 against exact search, the worst of every driver and filter",
        0.99,
    ),
    Figure(
        ("indexes", "least_recall"),
        "recall@10 of approximate indexes over 100,000 texts (pgvector's HNSW, Redis's graph), the worst of "
        "every driver and filter",
        0.99,
    ),
    Figure(
        ("quality", "hybrid_over_best_part"),
        "hybrid search over the better of its halves, MRR on a labelled set, the worst driver",
        1.0,
    ),
    *_neighbours(),
)


def load() -> dict[str, Results]:
    """By kind of run."""
    record: dict[str, Results] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return record


def keep(kind: Kind, results: Results) -> None:
    """Results in the place of earlier ones of the same benchmarks; the page shows them if they are full."""
    record = load()
    record.setdefault(kind, {}).update(results)
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    if kind == "full":
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{table(record['full'])}{END}{after}")


def table(results: Results) -> str:
    """Markdown, a line for each figure that was measured."""
    lines = ["| what | target | measured | |", "|---|---|---|---|"]
    for figure in FIGURES:
        value = figure.of(results)
        if value is not None:
            target = _target(figure)
            verdict = "" if figure.good(value) else "missed"
            lines.append(f"| {figure.what} | {target} | {_shown(value)} | {verdict} |")
    return "\n".join(lines) + "\n"


def _target(figure: Figure) -> str:
    if figure.target is None:
        return "none"
    return f"{'≤' if figure.low else '≥'} {figure.target:g}"


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def fallen(results: Results, recorded: Results) -> Iterable[tuple[Figure, float, float]]:
    """Of the steady ones those that are worse than they were by more than is tolerated."""
    for figure in FIGURES:
        value, before = figure.of(results), figure.of(recorded)
        if (
            figure.steady
            and value is not None
            and before is not None
            and figure.fell(value, before)
        ):
            yield figure, value, before
