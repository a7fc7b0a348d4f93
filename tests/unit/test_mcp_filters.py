"""mem0's filters as filters of memrelay."""

from __future__ import annotations

from typing import Any

import pytest

from api.mcp.filters import names_entity, told
from memrelay.errors import InvalidInput
from memrelay.filters import ANY_FIELD, parse_filter


@pytest.mark.parametrize(
    ("filters", "ours"),
    [
        ({"user_id": "ana"}, {"user_id": "ana"}),
        ({"run_id": "r", "app_id": "a"}, {"$and": [{"session_id": "r"}, {"metadata.app_id": "a"}]}),
        ({"AND": [{"user_id": "ana"}]}, {"$and": [{"user_id": "ana"}]}),
        ({"OR": [{"id": "1"}, {"id": "2"}]}, {"$or": [{"id": "1"}, {"id": "2"}]}),
        ({"NOT": {"user_id": "ana"}}, {"$not": {"user_id": "ana"}}),
        (
            {"NOT": [{"user_id": "ana"}, {"user_id": "ben"}]},
            {"$not": {"$or": [{"user_id": "ana"}, {"user_id": "ben"}]}},
        ),
        ({"memory_ids": ["1", "2"]}, {"id": {"$in": ["1", "2"]}}),
        ({"agent_id": "*"}, {"metadata.agent_id": {"$exists": True}}),
        ({"categories": {"contains": "x"}}, {"tags": {"$contains": "x"}}),
        (
            {"created_at": {"gte": "2026-01-01", "lt": "2026-02-01T12:00:00+01:00"}},
            {"created_at": {"$gte": "2026-01-01T00:00:00Z", "$lt": "2026-02-01T12:00:00+01:00"}},
        ),
        (
            {"metadata": {"team": "x", "score": {"ne": 3}}},
            {"$and": [{"metadata.team": "x"}, {"metadata.score": {"$ne": 3}}]},
        ),
        ({"metadata": {"day": "2026-01-01"}}, {"metadata.day": "2026-01-01"}),
    ],
)
def test_filter_is_told_in_ours(filters: dict[str, Any], ours: dict[str, Any]) -> None:
    assert told(filters) == ours
    assert parse_filter(ours, {"score": "number", **ANY_FIELD})


@pytest.mark.parametrize(
    ("filters", "pointer"),
    [
        ({}, "/filters"),
        ({"AND": {}}, "/filters/AND"),
        ({"AND": []}, "/filters/AND"),
        ({"AND": [{"OR": ["ana"]}]}, "/filters/AND/0/OR/0"),
        ({"keywords": {"contains": "x"}}, "/filters/keywords"),
        ({"updated_at": {"gte": "2026-01-01"}}, "/filters/updated_at"),
        ({"$and": [{"user_id": "ana"}]}, "/filters/$and"),
        ({"a/b": 1}, "/filters/a~1b"),
        ({"categories": {"icontains": "x"}}, "/filters/categories/icontains"),
        ({"metadata": {}}, "/filters/metadata"),
        ({"metadata": {"k": {"like": "x"}}}, "/filters/metadata/k/like"),
    ],
)
def test_what_there_is_no_word_for_is_refused_where_it_stands(
    filters: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        told(filters)
    assert refused.value.pointer == pointer


def test_entity_is_seen_at_any_depth() -> None:
    assert names_entity({"AND": [{"OR": [{"run_id": "r"}]}]})
    assert not names_entity({"AND": [{"metadata": {"team": "user_id"}}]})
    assert not names_entity(None)
