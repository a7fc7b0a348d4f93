"""``/metrics`` of a service that runs, against the one table of names and ``docs/metrics.md``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from backends.metrics import BY_NAME, METRICS, table
from tests.rig import wait_until

DOCS = Path(__file__).parents[2] / "docs"
Remember = Callable[..., dict[str, Any]]


def scrape(http: httpx.Client) -> dict[str, Metric]:
    """The families by their names in the table."""
    answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    found = {}
    for family in text_string_to_metric_families(answer.text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if name.startswith("memrelay_"):
            assert name not in found, f"{name} is there twice"
            found[name] = family
    return found


def value(families: dict[str, Metric], name: str, *, sample: str = "", **labels: str) -> float:
    """The sum of the samples with these labels."""
    return sum(
        one.value
        for one in families[name].samples
        if one.name == (sample or name) and labels.items() <= one.labels.items()
    )


def test_a_running_service_tells_exactly_what_the_table_names(
    http: httpx.Client, remember: Remember
) -> None:
    remember([{"text": "something to count"}])
    http.post("/v1/search", json={"query": "count"})
    found = scrape(http)
    assert found.keys() == BY_NAME.keys()
    for name, family in found.items():
        assert family.type == BY_NAME[name].kind
        assert family.documentation == BY_NAME[name].help
        labels = {label for one in family.samples for label in one.labels} - {"le"}
        assert labels in (set(BY_NAME[name].labels), set()), name


def test_the_documentation_shows_the_table() -> None:
    assert table() in (DOCS / "metrics.md").read_text()
    assert len(BY_NAME) == len(METRICS)


def test_a_memory_is_counted_from_accepting_to_searching(
    http: httpx.Client, remember: Remember, user: str
) -> None:
    before = scrape(http)
    remember([{"text": f"memory {i}", "user_id": user} for i in range(20)])
    assert http.post("/v1/search", json={"query": "memory", "user_id": user}).status_code == 200
    after = scrape(http)

    def grown(name: str, *, sample: str = "", **labels: str) -> float:
        earlier = value(before, name, sample=sample, **labels)
        return value(after, name, sample=sample, **labels) - earlier

    searchable = "memrelay_time_to_searchable_seconds"
    assert grown("memrelay_accepted_memories_total", lane="interactive") >= 20
    for driver in ("redis", "sqlite"):
        settled = "memrelay_settled_memories_total"
        assert grown(settled, driver=driver, outcome="applied") >= 20
    assert grown(searchable, sample=f"{searchable}_count") >= 20
    assert grown(searchable, sample=f"{searchable}_sum") > 0
    assert grown("memrelay_embedding_texts_total") >= 20
    assert grown("memrelay_apply_seconds", sample="memrelay_apply_seconds_count") >= 2
    assert grown("memrelay_searches_total") >= 1
    assert grown("memrelay_search_seconds", sample="memrelay_search_seconds_count") >= 1
    route = {"route": "/v1/memories", "method": "POST", "status": "202"}
    assert grown("memrelay_http_requests_total", **route) >= 1
    assert value(after, "memrelay_driver_up", driver="redis") == 1
    assert value(after, "memrelay_driver_state", driver="redis", state="serving") == 1


def test_what_strangers_ask_for_makes_no_new_series(http: httpx.Client) -> None:
    for path in ("/nothing/here", "/v1/nope", "/v1/memories/some-id-of-theirs"):
        http.get(path)
    http.request("BREW", "/v1/memories")
    labels = [s.labels for s in scrape(http)["memrelay_http_requests_total"].samples]
    routes = {row["route"] for row in labels}
    assert {"none", "/v1/memories/{id}"} <= routes
    assert not any("nope" in route or "theirs" in route for route in routes)
    assert "BREW" not in {row["method"] for row in labels}


def test_workers_are_counted_by_lane(http: httpx.Client) -> None:
    def both() -> bool:
        found = scrape(http)
        return all(
            value(found, "memrelay_workers", lane=lane) >= 1 for lane in ("interactive", "bulk")
        )

    wait_until("a worker on each lane", both, 60)
