"""Memories, vectors and spaces as values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrelay.types import (
    Memory,
    Space,
    memory_digest,
    memory_from_json,
    memory_to_json,
    vector_from_bytes,
    vector_to_bytes,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
MEMORIES = st.builds(
    Memory,
    id=TEXT,
    text=TEXT,
    user_id=st.none() | TEXT,
    session_id=st.none() | TEXT,
    source=st.just("notes"),
    tags=st.lists(TEXT, max_size=3).map(tuple),
    metadata=st.dictionaries(TEXT, JSON, max_size=3),
    created_at=st.integers(-(2**53), 2**53),
    expires_at=st.none() | st.integers(0, 2**53),
    version=st.integers(1, 2**53),
)


@given(MEMORIES)
def test_a_memory_survives_its_json(memory: Memory) -> None:
    record = memory_to_json(memory)
    again = memory_from_json(record, source=memory.source, version=memory.version)
    assert again == memory
    assert memory_to_json(again) == record
    assert memory_from_json(record.decode(), source="notes", version=memory.version) == memory


def test_the_canonical_json_and_its_digest_never_change() -> None:
    memory = Memory(
        id="é", text="hé\n", tags=("b", "a"), metadata={"z": 1.0, "a": [None, {}]}, created_at=5
    )
    record = memory_to_json(memory)
    assert (
        record
        == (
            '{"created_at":5,"expires_at":null,"id":"é","metadata":{"a":[null,{}],"z":1.0},'
            '"session_id":null,"tags":["b","a"],"text":"hé\\n","user_id":null}'
        ).encode()
    )
    assert memory_digest(record) == "9dcb5aa83659b16c7599c95c4dcd33b2"


def test_version_and_source_are_not_part_of_the_digest() -> None:
    one = Memory(id="a", text="t", created_at=1, source="x", version=1)
    two = Memory(id="a", text="t", created_at=1, source="y", version=2)
    assert memory_to_json(one) == memory_to_json(two)


def test_numbers_that_json_does_not_have_are_refused() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            memory_to_json(Memory(id="a", text="", metadata={"x": [value]}, created_at=1))


def test_a_memory_expires_at_its_time_and_not_before() -> None:
    memory = Memory(id="a", text="", created_at=1, expires_at=10)
    assert [memory.expired(now) for now in (9, 10, 11)] == [False, True, True]
    assert not Memory(id="a", text="", created_at=1).expired(2**60)


@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_vectors_travel_as_little_endian_float32(values: list[float]) -> None:
    data = vector_to_bytes(values)
    assert len(data) == 4 * len(values)
    assert vector_from_bytes(data) == values


def test_one_is_0000803f_in_a_vector() -> None:
    assert vector_to_bytes([1.0, -2.0]) == bytes.fromhex("0000803f000000c0")


def test_slugs_of_spaces_never_change_and_never_meet() -> None:
    assert Space("local/wordllama", 256).slug == "983d866a206a_256"
    spaces = [Space(model, size) for model in ("a", "b", "a1") for size in (1, 11, 256)]
    slugs = {space.slug for space in spaces}
    assert len(slugs) == len(spaces)
    assert all(slug.replace("_", "").isalnum() and slug.islower() for slug in slugs)


def test_json_keeps_integers_beyond_doubles_exact() -> None:
    memory = Memory(id="a", text="", metadata={"n": 2**53 + 1}, created_at=1)
    assert json.loads(memory_to_json(memory))["metadata"]["n"] == 2**53 + 1
