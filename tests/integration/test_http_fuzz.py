"""Bodies that nobody thought of: any JSON, and requests with one thing changed. Never a 5xx."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = 75
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$contains", "$exists")
FIELDS = ("id", "user_id", "tags", "created_at", "metadata.a", "metadata.score", "metadata.done")
TESTS = st.dictionaries(st.sampled_from(OPERATORS), JSON | TEXT, min_size=1, max_size=2)
FILTERS = st.recursive(
    st.dictionaries(st.sampled_from(FIELDS) | TEXT, TESTS | JSON, min_size=1, max_size=2),
    lambda inner: (
        st.dictionaries(
            st.sampled_from(("$and", "$or")), st.lists(inner, min_size=1, max_size=3), min_size=1
        )
        | st.fixed_dictionaries({"$not": inner})
    ),
    max_leaves=4,
)
MEMORIES = st.fixed_dictionaries(
    {"text": TEXT},
    optional={
        "id": TEXT,
        "user_id": TEXT,
        "tags": st.lists(TEXT, max_size=3),
        "metadata": st.dictionaries(TEXT, JSON, max_size=3),
        "expires_at": st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
    },
)
SEARCHES = st.fixed_dictionaries(
    {"query": TEXT},
    optional={
        "user_id": TEXT,
        "user_ids": st.lists(TEXT, max_size=3),
        "mode": st.sampled_from(("semantic", "keyword", "hybrid")),
        "filter": FILTERS,
        "top_k": st.integers(0, 201),
        "offset": st.integers(-1, 201),
        "min_score": st.floats(),
        "recency": st.fixed_dictionaries(
            {"half_life": st.floats(0, exclude_min=True)}, optional={"weight": st.floats(0, 1)}
        ),
        "include": st.lists(st.sampled_from(("text", "metadata", "vector"))),
        "after_job": TEXT,
        "timeout": st.floats(0.1, 2),
    },
)
QUERIES = TEXT | st.fixed_dictionaries(
    {}, optional={"query": TEXT, "pattern": TEXT, "filter": FILTERS}
)
VALUES = st.fixed_dictionaries(
    {"key": st.text("ab:*é", min_size=1, max_size=8) | TEXT, "value": st.integers(0, 9) | JSON},
    optional={
        "ttl_ms": st.integers(-1, 2**60),
        "tags": st.lists(TEXT, max_size=3),
        "metadata": st.dictionaries(TEXT, JSON, max_size=3),
        "overwrite": st.booleans(),
    },
)
SHAPED = {
    "/v1/memories": st.fixed_dictionaries({"memories": st.lists(MEMORIES, max_size=3)}),
    "/v1/search": SEARCHES,
    "/v1/memories/count": st.fixed_dictionaries({"filter": FILTERS}),
    "/v1/memories/delete": st.fixed_dictionaries({"ids": st.lists(TEXT, max_size=3)}),
    "/v1/sources/_/batch": st.fixed_dictionaries({"store": st.lists(VALUES, max_size=3)}),
    "/v1/sources/_/search": st.fixed_dictionaries({"query": QUERIES}, optional={"namespace": TEXT}),
    "/v1/sources/_/count": st.fixed_dictionaries({"query": QUERIES}, optional={"namespace": TEXT}),
}


@st.composite
def bodies(draw: st.DrawFn, path: str) -> Any:
    """Shaped as the route wants it, or so with one value replaced, or anything."""
    body = draw(SHAPED[path] | JSON)
    if not isinstance(body, dict) or not body or draw(st.booleans()):
        return body
    changed = copy.deepcopy(body)
    changed[draw(st.sampled_from(sorted(body)) | TEXT)] = draw(JSON)
    return changed


@pytest.mark.parametrize("path", SHAPED)
def test_no_body_makes_the_service_fail(http: httpx.Client, path: str) -> None:
    answered: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies(path))
    def attempt(body: Any) -> None:
        content = json.dumps(body).encode()
        answer = http.post(path, content=content, headers={"Content-Type": "application/json"})
        answered.add(answer.status_code)
        assert answer.status_code < 500, (body, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["request_id"]

    attempt()
    assert answered & {200, 202}
    assert 422 in answered
