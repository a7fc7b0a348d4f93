from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrelay.keyvalue import (
    KeySpace,
    fields_of,
    just_before,
    metadata_of,
    pattern_of,
    text_of,
    value_of,
)
from memrelay.types import Memory

# Everything that a key may hold: no control characters, no halves of surrogate pairs.
TEXT = st.characters(exclude_categories=("Cc", "Cs"))
KEYS = st.text(TEXT, min_size=1, max_size=256)
NAMESPACES = st.text(TEXT, max_size=64)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)


def memory_of(space: KeySpace, key: str, value: Any) -> Memory:
    return Memory(
        id=space.id_of(key),
        text=text_of(value),
        user_id=space.user_id,
        metadata={"mine": 1} | fields_of(key, value),
        created_at=0,
    )


@settings(derandomize=True, database=None, deadline=None)
@given(NAMESPACES, NAMESPACES, KEYS, KEYS)
def test_no_two_keys_share_an_id(one: str, two: str, first: str, second: str) -> None:
    ids = {KeySpace(space).id_of(key) for space in (one, two) for key in (first, second)}
    assert len(ids) == len({one, two}) * len({first, second})
    assert all(len(id) <= 256 for id in ids)


def test_long_key_takes_no_id_that_another_could_have() -> None:
    space = KeySpace("n")
    id = space.id_of("k" * 256)
    assert len(id) == 256
    assert space.id_of(id.removeprefix(space.head)) != id


@settings(derandomize=True, database=None, deadline=None)
@given(NAMESPACES, KEYS, st.integers(0, 256))
def test_ids_begin_as_their_keys_do(namespace: str, key: str, length: int) -> None:
    space = KeySpace(namespace)
    start = space.start_of(key[:length])
    assert space.id_of(key).startswith(start)
    assert just_before(start) < start


@pytest.mark.parametrize("text", ["a ", "a\ue000", "a!", "\U00010000"])
def test_what_is_just_before_a_text_can_be_sent_to_every_store(text: str) -> None:
    before = just_before(text)
    assert before < text
    before.encode()


@settings(derandomize=True, database=None, deadline=None)
@given(NAMESPACES, KEYS, JSON)
def test_value_survives_as_a_memory(namespace: str, key: str, value: Any) -> None:
    space = KeySpace(namespace)
    memory = memory_of(space, key, value)
    assert repr(value_of(memory)) == repr(value)
    assert memory.text.strip(), "no store takes a blank text"
    assert space.holds(memory)
    assert not KeySpace(f"{namespace}x").holds(memory)
    assert metadata_of(memory) == {"mine": 1}


def test_text_of_a_string_is_the_string_and_of_all_else_its_json() -> None:
    assert text_of("plain") == "plain"
    assert text_of({"b": 1, "a": "é"}) == '{"b":1,"a":"é"}'
    assert json.loads(text_of(" ")) == " "


@pytest.mark.parametrize(
    ("pattern", "prefix", "matching", "others"),
    [
        ("*", "", ["a", "*"], []),
        ("user:*", "user:", ["user:", "user:1", "user:\u2028x"], ["a user:1", "User:1"]),
        ("us?r", "us", ["user", "us?r"], ["usr", "useer"]),
        ("*a*b", "", ["ab", "xaxb"], ["ba", "abx"]),
        ("part", "", ["part", "a part of"], ["PART", "par"]),
        ("[ab]*", "[ab]", ["[ab]", "[ab]c"], ["a", "ac"]),
        ("a.c*", "a.c", ["a.cd"], ["abcd"]),
    ],
)
def test_patterns(pattern: str, prefix: str, matching: list[str], others: list[str]) -> None:
    wanted = pattern_of(pattern)
    assert wanted.prefix == prefix
    assert all(wanted.matches(key) for key in matching)
    assert not any(wanted.matches(key) for key in others)


def test_no_pattern_takes_long() -> None:
    began = time.monotonic()
    wanted = pattern_of("*a" * 120 + "b")
    assert not wanted.matches("a" * 256)
    assert time.monotonic() - began < 0.5
