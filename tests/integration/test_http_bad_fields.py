"""Fields that are wrong, of every request: a problem which names the field, and nothing is accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Refused

C = "canary7f3a"
LONE = f"{C}\ud800"
NUL = f"{C}\0"


def raw(number: str) -> str:
    """A number that Python would not write."""
    return f"@@{number}@@"


INFINITE = raw("1e999")
HUGE = 2**70
NOT_STRINGS = (7, 1.5, True, [C], {"a": C})
NOT_TEXT = (*NOT_STRINGS, "", " \n\t", LONE, NUL)
NOT_IDS = (*NOT_STRINGS, "", C + "x" * 247, LONE, NUL, f"{C}\n", f"{C}\x7f", f"{C}\x85")
NOT_TIMES = (
    *(7, 1.5, True, [C], {"a": C}, "", C, LONE, NUL, f"2026-01-31{C}", INFINITE, HUGE),
    *("2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "2026-01-31T25:00:00Z"),
    *("1699-12-31T23:59:59Z", "2250-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59"),
)
NOT_VECTORS: tuple[Any, ...] = (
    *(7, C, {"a": C}, [], [C] * 8, [None] * 8, [True] * 8, [[1]] * 8),
    *([0] * 8, [-0.0] * 8, [INFINITE] * 8, [1e39] * 8, [raw("1" + "0" * 400)] * 8),
    *([1.0] * 7, [1.0] * 9, [1.0] * 4097),
)


def nested(depth: int) -> Any:
    value: Any = C
    for _ in range(depth):
        value = [value]
    return value


NOT_METADATA = (
    *(None, 7, C, [C], {"a": LONE}, {"a": NUL}, {LONE: 1}, {NUL: 1}, {f"{C}\n": 1}),
    *({"": C}, {"k" * 257: C}, {"a": "x" * 16_384}, {"a": nested(16)}, {"a": nested(800)}),
    *({"a": INFINITE}, {"a": [{"b": INFINITE}]}, {"a": 2**53 + 1}, {"a": -HUGE}),
)


def cases(*rows: tuple[str, tuple[Any, ...]]) -> list[Any]:
    """(field, value) of each row's values, with ids that can be read."""
    return [
        pytest.param(field, value, id=f"{field}-{n}")
        for field, values in rows
        for n, value in enumerate(values)
    ]


def post(http: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    text = re.sub(r'"@@(.*?)@@"', r"\1", json.dumps(body))
    return http.post(path, content=text, headers={"Content-Type": "application/json"})


def check(problem: dict[str, Any], answer: httpx.Response, pointer: str) -> None:
    """The problem names ``pointer`` or something in it, and shows nothing of the request."""
    pointers = [error["pointer"] for error in problem["errors"]]
    assert any(re.match(f"{re.escape(pointer)}(/|$)", found) for found in pointers), pointers
    assert C not in answer.text
    assert "xxx" not in answer.text


@pytest.fixture(autouse=True)
def _nothing_is_accepted(http: httpx.Client) -> Iterator[None]:
    def newest() -> list[str]:
        return [job["id"] for job in http.get("/v1/jobs", params={"limit": 1}).json()["jobs"]]

    before = newest()
    yield
    assert newest() == before


@pytest.mark.parametrize(
    ("field", "value"),
    cases(
        ("text", (None, *NOT_TEXT, "x" * 65_537, "é" * 32_769)),
        ("id", NOT_IDS),
        ("user_id", NOT_IDS),
        ("session_id", NOT_IDS),
        ("tags", (None, 7, C, {"a": C}, [None], [7], [[C]], [C] * 65)),
        ("tags", tuple([tag] for tag in ("", C + "x" * 119, LONE, NUL, f"{C}\t"))),
        ("metadata", NOT_METADATA),
        ("created_at", NOT_TIMES),
        ("expires_at", NOT_TIMES),
        ("version", (7,)),
        ("source", (C,)),
    ),
)
def test_wrong_field_of_one_memory_refuses_them_all(
    http: httpx.Client, refused: Refused, field: str, value: Any
) -> None:
    body = {"memories": [{"text": C}, {"text": C, field: value}, {"text": C}]}
    answer = post(http, "/v1/memories", body)
    check(refused(answer, 422), answer, f"/memories/1/{field}")


@pytest.mark.parametrize("value", NOT_VECTORS, ids=range(len(NOT_VECTORS)))
def test_wrong_vector_is_refused(http: httpx.Client, refused: Refused, value: Any) -> None:
    body = {"memories": [{"text": C, "vector": value}], "source": "vectors"}
    answer = post(http, "/v1/memories", body)
    check(refused(answer, 422), answer, "/memories/0/vector")
    answer = post(http, "/v1/search", {"vector": value, "source": "vectors"})
    check(refused(answer, 422), answer, "/vector")


def test_vector_belongs_to_external_sources_alone(http: httpx.Client, refused: Refused) -> None:
    brought = {"memories": [{"text": C, "vector": [1.0] * 256}]}
    refused(post(http, "/v1/memories", brought), 422, "/memories/0/vector")
    missing = {"memories": [{"text": C}], "source": "vectors"}
    refused(post(http, "/v1/memories", missing), 422, "/memories/0/vector")
    refused(post(http, "/v1/search", {"query": C, "source": "vectors"}), 422, "/vector")


NOT_SOURCES = (None, *NOT_STRINGS, "", C.upper(), f"{C} ", LONE, NUL, "x" * 65, "unknown")


@pytest.mark.parametrize(
    ("field", "value"),
    cases(
        ("memories", (None, 7, C, {}, [], [None], [7], [C], [[]], [{}], [{"text": C}] * 1001)),
        ("source", NOT_SOURCES),
        ("lane", (None, 7, True, C, "", "BULK", LONE)),
        ("namespace", (C,)),
    ),
)
def test_wrong_field_of_a_write_is_refused(
    http: httpx.Client, refused: Refused, field: str, value: Any
) -> None:
    answer = post(http, "/v1/memories", {"memories": [{"text": C}], field: value})
    check(refused(answer, 422), answer, f"/{field}")


@pytest.mark.parametrize(
    ("field", "value"),
    cases(
        ("ids", (None, 7, C, {}, [], [C] * 1001, [C, None])),
        ("ids", tuple([id] for id in NOT_IDS)),
        ("source", NOT_SOURCES),
        ("user_id", NOT_IDS),
        ("session_id", NOT_IDS),
        ("filter", (7, C, [], [C])),
        ("tenant_id", (C,)),
    ),
)
def test_wrong_field_of_a_delete_is_refused(
    http: httpx.Client, refused: Refused, field: str, value: Any
) -> None:
    answer = post(http, "/v1/memories/delete", {"ids": [C], field: value})
    check(refused(answer, 422), answer, f"/{field}")


NOT_FILTERS = (
    *(7, C, [C], {}, {"$and": []}, {"$or": {}}, {"$not": {}}, {"$and": [{}]}, {"$not": [C]}),
    *({"text": C}, {"$near": C}, {"metadata": C}, {"metadata.": C}, {"": C}, {"tags": {}}),
    *({"user_id": {"$like": C}}, {"user_id": {"$gt": None}}, {"user_id": None}, {"user_id": 7}),
    *({"user_id": [C]}, {"tags": {"$in": []}}, {"tags": {"$in": C}}, {"tags": {"$in": [[C]]}}),
    *({"tags": {"$in": [C] * 1001}}, {"tags": {"$exists": 1}}, {"tags": {"$contains": None}}),
    *({"user_id": LONE}, {"user_id": NUL}, {"user_id": "x" * 1025}, {"tags": {"$in": [LONE]}}),
    *({"metadata.\ud800": 1}, {"metadata.a\0": 1}, {f"metadata.{'x' * 2000}": 1}, {"\ud800": 1}),
    *({"metadata.a": {"\ud800": 1}}, {"metadata.a": {"$gt": 1}}, {"metadata.a": {"b": C}}),
    *({"metadata.score": C}, {"metadata.score": INFINITE}, {"metadata.score": {"$gt": True}}),
    *({"metadata.category": 7}, {"metadata.done": C}, {"metadata.a": {"$in": [INFINITE]}}),
    *({"created_at": {"$gt": value}} for value in NOT_TIMES if value != C),
    *({"$or": [{"user_id": C}] * 129}, {"user_id": C, "$and": [{"tags": {"$eq": {}}}]}),
)


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"user_id": C}
    for _ in range(levels):
        value = {"$not": value}
    return value


SELECTION: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("user_id", NOT_IDS),
    ("session_id", NOT_IDS),
    ("user_ids", (7, C, {}, [], [None], [7], [C] * 101, [LONE], [""], [NUL])),
    ("filter", (*NOT_FILTERS, deep(8), deep(500))),
    ("source", NOT_SOURCES),
    ("tags", ([C],)),
)


@pytest.mark.parametrize(("field", "value"), cases(*SELECTION))
def test_wrong_selection_is_refused_wherever_it_stands(
    http: httpx.Client, refused: Refused, field: str, value: Any
) -> None:
    for path, body in (("/v1/memories/count", {}), ("/v1/search", {"query": C})):
        answer = post(http, path, {**body, field: value})
        check(refused(answer, 422), answer, f"/{field}")


@pytest.mark.parametrize(
    ("field", "value"),
    cases(
        ("query", (None, *NOT_TEXT, "x" * 65_537)),
        ("top_k", (None, 0, -1, 201, 1.0, 1.5, "7", True, [7], INFINITE, HUGE)),
        ("offset", (None, -1, 191, 200, 1.5, "0", False, INFINITE, HUGE)),
        ("mode", (7, True, "", C, "Semantic", LONE, ["semantic"])),
        ("min_score", (0.5, -1.1, 1.1, "0.5", True, INFINITE, [1])),
        ("recency", (7, True, C, [C], {}, {"half_life": 0, "unit": C}, {"weight": 0.5}, {LONE: 1})),
        ("include", (None, 7, "text", {}, [C], [7], ["score"], [LONE])),
        ("drivers", (7, "redis", {}, [], [C], [7], [LONE], ["redis", "weaviate"], ["sqlite"] * 17)),
        ("after_job", (7, True, "", LONE, f"job_i{LONE}", NUL, C + "x" * 300, [C])),
        ("timeout", (0, -1, 61, INFINITE, HUGE, "5", "5s", True, [1])),
        ("limit", (7,)),
    ),
)
def test_wrong_field_of_a_search_is_refused(
    http: httpx.Client, refused: Refused, field: str, value: Any
) -> None:
    answer = post(http, "/v1/search", {"query": C, field: value})
    check(refused(answer, 422), answer, f"/{field}")


@pytest.mark.parametrize(
    ("field", "value"),
    cases(
        ("half_life", (None, 0, -1, "7d", True, [C], INFINITE, raw("1" + "0" * 400))),
        ("weight", (None, -0.1, 2, "0.5", False, INFINITE)),
        ("half-life", (7,)),
    ),
)
def test_wrong_field_of_a_recency_is_named(
    http: httpx.Client, refused: Refused, field: str, value: Any
) -> None:
    body = {"query": C, "recency": {"half_life": 60, field: value}}
    answer = post(http, "/v1/search", body)
    refused(answer, 422, f"/recency/{field}")
    assert C not in answer.text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/query"),
        ({"query": C, "vector": [1.0] * 256}, "/query"),
        ({"vector": [1.0] * 256, "mode": "keyword"}, "/mode"),
        ({"vector": [1.0] * 256, "mode": "hybrid"}, "/mode"),
        ({"query": C, "mode": "keyword", "min_score": 0.5}, "/min_score"),
        ({"query": C, "mode": "hybrid", "min_score": 0.5}, "/min_score"),
        ({"query": C, "vector": [1.0] * 256, "mode": "semantic"}, "/query"),
        ({"query": C, "vector": [1.0] * 256, "mode": "keyword"}, "/query"),
        ({"query": C, "vector": [1.0] * 8, "mode": "hybrid"}, "/vector"),
        ({"query": C, "vector_weight": 0.5}, "/vector_weight"),
        ({"query": C, "mode": "semantic", "vector_weight": 0.5}, "/vector_weight"),
        ({"query": C, "mode": "hybrid", "vector_weight": 1.5}, "/vector_weight"),
        ({"query": C, "top_k": 200, "offset": 1}, "/offset"),
        ({"query": C, "mode": "keyword", "drivers": ["redis"]}, "/mode"),
        ({"vector": [1.0] * 8}, "/vector"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(
    http: httpx.Client, refused: Refused, body: dict[str, Any], pointer: str
) -> None:
    answer = post(http, "/v1/search", body)
    check(refused(answer, 422), answer, pointer)
