"""The operations of one batch, understood: what is to be embedded before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from langgraph.store.base import (
    GetOp,
    ListNamespacesOp,
    Op,
    PutOp,
    SearchOp,
    validate_op_namespace,
)

from memrelay.compat.langgraph.conditions import check
from memrelay.compat.langgraph.places import Place
from memrelay.compat.langgraph.records import Vector, Written


@dataclass(frozen=True, slots=True)
class Batch:
    """Reads by their number among the operations. Of several puts of one item the last counts.

    ``writes`` are values to store, ``deletes`` items to delete.
    """

    count: int
    gets: Mapping[int, GetOp]
    searches: Mapping[int, SearchOp]
    lists: Mapping[int, ListNamespacesOp]
    writes: Sequence[Written]
    deletes: Sequence[Place]

    @property
    def texts(self) -> list[str]:
        """What the values are found by, each once."""
        return list(dict.fromkeys(text for one in self.writes for text in one.all_texts))

    @property
    def queries(self) -> list[str]:
        return list(dict.fromkeys(op.query for op in self.searches.values() if op.query))


@dataclass(frozen=True, slots=True)
class Vectors:
    """The caller's, of a batch's texts and queries."""

    texts: Mapping[str, Vector]
    queries: Mapping[str, Vector]

    @classmethod
    def of(cls, batch: Batch, of_texts: Sequence[Vector], of_queries: Sequence[Vector]) -> Vectors:
        """In the order of ``batch.texts`` and ``batch.queries``."""
        return cls(_by(batch.texts, of_texts), _by(batch.queries, of_queries))


def understood(ops: Iterable[Op], fields: Sequence[str] | None) -> Batch:
    """``fields``: the paths whose texts an item is found by unless it names its own; None: by none.

    ``InvalidNamespaceError`` for a namespace that none can have, ``ValueError`` for an unknown operation
    or operator.
    """
    gets: dict[int, GetOp] = {}
    searches: dict[int, SearchOp] = {}
    lists: dict[int, ListNamespacesOp] = {}
    puts: dict[Place, PutOp] = {}
    numbered = list(enumerate(ops))
    for number, op in numbered:
        validate_op_namespace(op)
        match op:
            case GetOp():
                gets[number] = op
            case SearchOp():
                check(op.filter)
                searches[number] = op
            case ListNamespacesOp():
                lists[number] = op
            case PutOp():
                puts[Place(op.namespace, op.key)] = op
            case _:
                raise ValueError(f"Unknown operation type: {type(op)}")
    writes = [Written.of(op, _paths(op, fields)) for op in puts.values() if op.value is not None]
    deletes = [place for place, op in puts.items() if op.value is None]
    return Batch(len(numbered), gets, searches, lists, writes, deletes)


def _paths(op: PutOp, fields: Sequence[str] | None) -> Sequence[str]:
    if fields is None or op.index is False:
        return ()
    return fields if op.index is None else op.index


def _by(texts: Sequence[str], vectors: Sequence[Vector]) -> dict[str, Vector]:
    """Plain floats: functions that embed give arrays as well."""
    numbers = ([float(number) for number in vector] for vector in vectors)
    return dict(zip(texts, numbers, strict=True))
