"""What is sent to make one memory of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.mcp.stored import merging

VALUES = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def merged(old: Any, changes: Any) -> Any:
    """As RFC 7396 has it."""
    if not isinstance(changes, Mapping):
        return changes
    target = dict(old) if isinstance(old, Mapping) else {}
    for name, value in changes.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merged(target.get(name), value)
    return target


@given(OBJECTS, OBJECTS)
def test_merging_makes_the_new_of_the_old(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merged(old, merging(old, new)) == new


@given(OBJECTS)
def test_what_is_the_same_is_not_sent(value: dict[str, Any]) -> None:
    def told(changes: Any) -> bool:
        return isinstance(changes, Mapping) and all(told(each) for each in changes.values())

    assert told(merging(value, value))
