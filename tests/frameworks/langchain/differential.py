"""LangGraph's ``InMemoryStore`` and ours, given the same operations: the same results.

Not compared, since theirs are accidents: the order of what has no score (theirs that of insertion), texts
of an overwritten item by which it is still found, namespaces that were only asked for, and times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding
from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from memrelay import Memrelay
from memrelay.compat.langgraph import MemrelayStore
from memrelay.compat.langgraph.places import Place
from memrelay.keyvalue import KeySpace

EMBEDDINGS = DeterministicFakeEmbedding(size=6)
INDEXES: list[dict[str, Any] | None] = [
    None,
    {"dims": 6, "embed": EMBEDDINGS},
    {"dims": 6, "embed": EMBEDDINGS, "fields": ["color", "tags[*]"]},
    {"dims": 6, "embed": EMBEDDINGS, "fields": ["$", "color"]},
]
EVERYTHING = 1000
CLOSE = 1e-4

labels = st.sampled_from(["a", "*:é%3A"])
namespaces = st.lists(labels, min_size=1, max_size=2).map(tuple)
prefixes = st.lists(labels, max_size=1).map(tuple)
keys = st.sampled_from(["k", "", "x:y.z*\n", "k" * 300, "k" * 299 + "l"])
colors = st.sampled_from(["red", "green", "blue " * 40])
numbers = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 2**60]))
nested = st.dictionaries(st.sampled_from(["x", "", "é"]), st.one_of(st.none(), numbers), max_size=2)
values = st.fixed_dictionaries(
    {"n": numbers, "color": colors},
    optional={
        "flag": st.booleans(),
        "tags": st.lists(st.sampled_from(["t1", "t2", "t3"]), unique=True, max_size=3),
        "nested": nested,
        "nothing": st.none(),
    },
)
orders = st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"])
conditions = st.one_of(
    st.fixed_dictionaries({"n": numbers}),
    st.fixed_dictionaries({"n": st.dictionaries(orders, numbers, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"color": st.one_of(colors, colors.map(lambda color: {"$ne": color}))}),
    st.fixed_dictionaries({"flag": st.one_of(st.booleans(), st.none(), st.just({"$ne": True}))}),
    st.fixed_dictionaries(
        {"tags": st.lists(st.sampled_from(["t1", "t2"]), unique=True, max_size=2)},
        optional={"nothing": st.none()},
    ),
    st.fixed_dictionaries({"nested": nested}),
)
indexes = st.sampled_from([None, None, None, False, ["color"], ["tags[*]", "nothing"]])
first_puts = st.builds(PutOp, namespaces, keys, values, indexes, st.none())
puts = st.one_of(first_puts, st.builds(PutOp, namespaces, keys, st.none(), st.none(), st.none()))
gets = st.builds(GetOp, namespaces, keys)
searches = st.builds(
    SearchOp,
    prefixes,
    st.one_of(st.none(), conditions),
    limit=st.sampled_from([1, 2, 5, 100]),
    offset=st.integers(0, 3),
    query=st.one_of(st.none(), st.sampled_from(["red", "t1"])),
)
matches = st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), namespaces)
lists = st.builds(
    ListNamespacesOp,
    st.one_of(st.none(), st.lists(matches, max_size=2).map(tuple)),
    max_depth=st.one_of(st.none(), st.integers(1, 3)),
    limit=st.integers(1, 6),
    offset=st.integers(0, 2),
)
batches = st.lists(
    st.lists(st.one_of(puts, puts, gets, searches, searches, lists), min_size=1, max_size=4),
    min_size=2,
    max_size=8,
)
histories = st.builds(
    lambda first, rest: [first, *rest], st.lists(first_puts, min_size=6, max_size=16), batches
)


class Model:
    """``InMemoryStore`` without its accidents."""

    def __init__(self, index: Any) -> None:
        self.store = InMemoryStore(index=index)

    def batch(self, ops: Sequence[Op]) -> list[Any]:
        results = [None if isinstance(op, PutOp) else self._done(op) for op in ops]
        last = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        for op in last.values():
            self.store.batch([op._replace(value=None)])
            self._done(op)
        return results

    def _done(self, op: Op) -> Any:
        (result,) = self.store.batch([op])
        data: dict[Any, Any] = self.store._data
        for namespace in [namespace for namespace, items in data.items() if not items]:
            del data[namespace]
        return result

    def all_of(self, op: SearchOp) -> list[SearchItem]:
        (found,) = self.store.batch([op._replace(limit=EVERYTHING, offset=0)])
        return list(found)


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # to shrink what fails takes minutes: add Phase.shrink
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(index=st.sampled_from(INDEXES), history=histories)
def test_the_same_operations_have_the_same_results(
    relay: Memrelay, index: Any, history: list[list[Op]]
) -> None:
    theirs = Model(index)
    name = f"{uuid4()}"
    ours = MemrelayStore(relay=relay, source="brought", name=name, index=index)
    for ops in history:
        alls = [theirs.all_of(op) if isinstance(op, SearchOp) else [] for op in ops]
        expected = theirs.batch(ops)
        for op, here, there, them_all in zip(ops, ours.batch(ops), expected, alls, strict=True):
            if isinstance(op, SearchOp):
                check_search(op, here, there, them_all, ranked=index is not None)
            elif isinstance(op, GetOp):
                assert content(here) == content(there), op
            else:
                assert here == there, op


def check_search(
    op: SearchOp,
    ours: list[SearchItem],
    theirs: list[SearchItem],
    all_of_theirs: list[SearchItem],
    *,
    ranked: bool,
) -> None:
    if op.query is None or not ranked:
        in_order = sorted(all_of_theirs, key=id_of)[op.offset : op.offset + op.limit]
        assert [content(item) for item in ours] == [content(item) for item in in_order], op
        assert {item.score for item in ours} <= {None}
        return
    by_id = {id_of(item): item for item in all_of_theirs}
    assert len(ours) == len({id_of(item) for item in ours})
    assert [item.score for item in ours] == approximately([item.score for item in theirs]), op
    for item in ours:
        same = by_id[id_of(item)]
        assert content(item) == content(same)
        assert item.score == approximately(same.score)


def approximately(expected: Any) -> Any:
    if isinstance(expected, list):
        return [approximately(one) for one in expected]
    return None if expected is None else pytest.approx(expected, abs=CLOSE)


def id_of(item: Item) -> str:
    """Of any store with a name as long as ours: the order is the same."""
    return KeySpace(f"{UUID(int=0)}").id_of(Place(item.namespace, item.key).name)


def content(item: Item | None) -> Any:
    return item and (item.namespace, item.key, item.value)
