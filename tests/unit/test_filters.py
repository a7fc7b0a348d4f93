"""The filter language: what is accepted, what it means, and what drivers may derive from it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from memrelay.errors import InvalidInput
from memrelay.filters import (
    And,
    Compare,
    Condition,
    Either,
    Every,
    Filter,
    Leaf,
    Not,
    Or,
    all_of,
    comparisons,
    escape_pointer,
    matches,
    normalized,
    parse_filter,
    required_values,
)
from memrelay.testing.conformance.filter_cases import crafted, random_filters
from memrelay.types import FieldType, Memory

FIELDS: dict[str, FieldType] = {
    "topic": "string",
    "score": "number",
    "done": "boolean",
    "odd name.x": "string",
}
MEMORY = Memory(
    id="m1",
    text="…",
    user_id="ann",
    tags=("red", "blue"),
    metadata={
        "topic": "tea",
        "score": 2,
        "done": True,
        "note": "n",
        "mixed": ["a", 1, True, None],
        "gone": None,
        "empty": [],
        "blank": "",
        "object": {"a": 1},
        "a/b~c": 1,
    },
    created_at=1_769_860_800_000_000,
)


def parse(raw: object) -> Filter:
    return parse_filter(raw, FIELDS)


@pytest.mark.parametrize(
    "raw",
    [
        {"user_id": "ann"},
        {"user_id": {"$eq": "ann"}},
        {"user_id": {"$gte": "ann", "$lt": "ao"}},
        {"user_id": {"$contains": "nn"}},
        {"user_id": {"$contains": ""}},
        {"session_id": {"$exists": False}},
        {"session_id": {"$ne": "x"}},
        {"session_id": {"$nin": ["x", "y"]}},
        {"tags": "red"},
        {"tags": {"$contains": "blue"}},
        {"tags": {"$in": ["green", "blue"]}},
        {"tags": {"$ne": "green"}},
        {"created_at": "2026-01-31T12:00:00Z"},
        {
            "created_at": {
                "$gte": "2026-01-31T13:00:00+01:00",
                "$lte": "2026-01-31T12:00:00.000000Z",
            }
        },
        {"metadata.topic": {"$in": ["coffee", "tea"]}},
        {"metadata.score": 2},
        {"metadata.score": 2.0},
        {"metadata.score": {"$gt": 1.5, "$lt": 2.5}},
        {"metadata.done": True},
        {"metadata.odd name.x": {"$ne": "x"}},
        {"metadata.note": "n"},
        {"metadata.mixed": "a"},
        {"metadata.mixed": 1},
        {"metadata.mixed": True},
        {"metadata.gone": {"$exists": False}},
        {"metadata.empty": {"$exists": False}},
        {"metadata.blank": {"$exists": True}},
        {"metadata.object": {"$exists": True}},
        {"metadata.a/b~c": 1},
        {"$not": {"user_id": "bob"}},
        {"$not": {"session_id": {"$gt": ""}}},
        {"$or": [{"user_id": "bob"}, {"tags": "red"}]},
        {"$and": [{"user_id": "ann"}, {"tags": "red"}], "id": "m1"},
    ],
)
def test_it_matches(raw: dict[str, Any]) -> None:
    node = parse(raw)
    assert matches(node, MEMORY)
    assert not matches(Not(node), MEMORY)


@pytest.mark.parametrize(
    "raw",
    [
        {"user_id": "Ann"},
        {"user_id": " ann"},
        {"user_id": {"$gt": "ann"}},
        {"user_id": {"$ne": "ann"}},
        {"session_id": {"$eq": "x"}},
        {"session_id": {"$lt": "zzz"}},
        {"session_id": {"$contains": ""}},
        {"session_id": {"$exists": True}},
        {"tags": {"$ne": "red"}},
        {"tags": {"$nin": ["blue"]}},
        {"tags": {"$contains": "re"}},
        {"tags": {"$gt": "a"}},
        {"metadata.note": 1},
        {"metadata.score": {"$ne": 2.0}},
        {"metadata.mixed": "1"},
        {"metadata.mixed": 0},
        {"metadata.gone": {"$exists": True}},
        {"metadata.empty": {"$exists": True}},
        {"metadata.object": "a"},
        {"$not": {"$or": [{"user_id": "ann"}, {"user_id": "bob"}]}},
        {"user_id": "ann", "tags": "green"},
    ],
)
def test_it_does_not_match(raw: dict[str, Any]) -> None:
    assert not matches(parse(raw), MEMORY)


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        ([], "/filter"),
        ({}, "/filter"),
        ({"nope": 1}, "/filter/nope"),
        ({"metadata.": 1}, "/filter/metadata."),
        ({"$nor": []}, "/filter/$nor"),
        ({"text": "x"}, "/filter/text"),
        ({"user_id": None}, "/filter/user_id"),
        ({"user_id": 1}, "/filter/user_id"),
        ({"user_id": {}}, "/filter/user_id"),
        ({"user_id": {"$like": "x"}}, "/filter/user_id/$like"),
        ({"user_id": {"$in": []}}, "/filter/user_id/$in"),
        ({"user_id": {"$in": "ann"}}, "/filter/user_id/$in"),
        ({"user_id": {"$in": ["x"] * 1001}}, "/filter/user_id/$in"),
        ({"user_id": {"$in": ["x", ["y"]]}}, "/filter/user_id/$in/1"),
        ({"user_id": {"$exists": "yes"}}, "/filter/user_id/$exists"),
        ({"user_id": "x" * 1025}, "/filter/user_id"),
        ({"user_id": ["ann"]}, "/filter/user_id"),
        ({"created_at": 5}, "/filter/created_at"),
        ({"created_at": "yesterday"}, "/filter/created_at"),
        ({"created_at": "2026-01-31T12:00:00"}, "/filter/created_at"),
        ({"created_at": {"$contains": "2026"}}, "/filter/created_at/$contains"),
        ({"metadata.score": "2"}, "/filter/metadata.score"),
        ({"metadata.score": True}, "/filter/metadata.score"),
        ({"metadata.done": {"$gt": True}}, "/filter/metadata.done/$gt"),
        ({"metadata.note": {"$gt": "a"}}, "/filter/metadata.note/$gt"),
        ({"metadata.note": {"$ne": "a"}}, "/filter/metadata.note/$ne"),
        ({"metadata.a/b~c": {"$ne": 1}}, "/filter/metadata.a~1b~0c/$ne"),
        ({"$and": []}, "/filter/$and"),
        ({"$or": {"user_id": "x"}}, "/filter/$or"),
        ({"$or": [{"user_id": "x"}, {"nope": 1}]}, "/filter/$or/1/nope"),
        ({"$not": [{"user_id": "x"}]}, "/filter/$not"),
    ],
)
def test_what_is_wrong_is_refused_with_a_pointer_to_it(raw: object, pointer: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(raw)
    assert caught.value.pointer == pointer


def test_filters_nest_eight_deep_and_no_deeper() -> None:
    raw: dict[str, Any] = {"user_id": "ann"}
    for _ in range(7):
        raw = {"$not": raw}
    assert matches(parse(raw), MEMORY) is False
    with pytest.raises(InvalidInput, match="nested deeper"):
        parse({"$not": raw})


def test_filters_have_128_conditions_and_no_more() -> None:
    parse({"$or": [{"id": "x"}] * 127})
    with pytest.raises(InvalidInput, match="more than 128"):
        parse({"$or": [{"id": "x"}] * 128})


def test_no_filter_matches_everything() -> None:
    assert matches(None, MEMORY)


def test_generated_filters_mean_the_same_when_normalized() -> None:
    memories = [op.memory for op in crafted()]
    for raw in random_filters(300, seed=1):
        node = parse(raw)
        condition = normalized(node)
        for memory in memories:
            assert holds(condition, memory) == matches(node, memory), raw


def test_required_values_are_necessary() -> None:
    memories = [op.memory for op in crafted()]
    named = 0
    for raw in random_filters(3000, seed=2):
        node = parse(raw)
        users = required_values(node, "user_id")
        if users is not None:
            named += 1
            assert all(m.user_id in users for m in memories if matches(node, m)), raw
    assert named > 20


def test_required_values_of_some_shapes() -> None:
    a, b, c = (Compare("user_id", "$eq", name) for name in "abc")
    other = Compare("tags", "$eq", "x")
    assert required_values(And((a, other)), "user_id") == frozenset({"a"})
    assert required_values(Or((a, b)), "user_id") == frozenset({"a", "b"})
    assert required_values(Or((a, other)), "user_id") is None
    assert required_values(And((Or((a, b)), Or((b, c)))), "user_id") == frozenset({"b"})
    assert required_values(And((a, b)), "user_id") == frozenset()
    assert required_values(Compare("user_id", "$in", ("a", "b")), "user_id") == frozenset(
        {"a", "b"}
    )
    assert required_values(Not(a), "user_id") is None
    assert required_values(Compare("user_id", "$ne", "a"), "user_id") is None
    assert required_values(None, "user_id") is None


def test_comparisons_are_found_wherever_they_stand() -> None:
    raw = {"id": "x", "$or": [{"tags": "y"}, {"$not": {"metadata.score": {"$gt": 1, "$lt": 5}}}]}
    assert [(c.field, c.op) for c in comparisons(parse(raw))] == [
        ("id", "$eq"),
        ("tags", "$eq"),
        ("metadata.score", "$gt"),
        ("metadata.score", "$lt"),
    ]
    assert list(comparisons(None)) == []


def test_all_of_joins_what_is_given() -> None:
    a, b = Compare("id", "$eq", "a"), Compare("id", "$eq", "b")
    assert all_of([None, None]) is None
    assert all_of([None, a]) is a
    assert all_of([a, None, b]) == And((a, b))


def test_pointers_escape_tilde_before_slash() -> None:
    assert escape_pointer("a/b~c~1") == "a~1b~0c~01"


def test_strings_order_by_code_point() -> None:
    words = ["", " ", "Z", "a", "a\u0308", "b", "z", "ä", "\uffff", "😀"]
    rng = random.Random(3)
    for _ in range(200):
        left, right = rng.randrange(len(words)), rng.randrange(len(words))
        memory = Memory(id=words[left], text="", created_at=1)
        assert matches(parse({"id": {"$gt": words[right]}}), memory) == (left > right)


def holds(condition: Condition, memory: Memory) -> bool:
    """What a driver that compiled ``condition`` exactly would answer."""
    match condition:
        case Leaf(compare, negated):
            return matches(compare, memory) != negated
        case Every(children):
            return all(holds(child, memory) for child in children)
        case Either(children):
            return any(holds(child, memory) for child in children)
