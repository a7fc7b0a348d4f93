"""Records as they lie in a partition: the stamp, then the canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

from memrelay.filters import Compare, Condition, Either, Every, Leaf
from memrelay.types import Memory, memory_from_json

STAMP = 20


def decode(record: bytes, source: str) -> Memory:
    return memory_from_json(record[STAMP:], source=source, version=int(record[: STAMP - 1]))


def necessary(condition: Condition) -> Callable[[bytes], bool]:
    """A test on a record's bytes that holds whenever ``condition`` does; quicker than to parse it.

    The strings of ``$eq``, ``$in`` and ``$contains`` are in the JSON as this process would write them.
    """
    match condition:
        case Every(children):
            tests = [necessary(child) for child in children]
            return lambda record: all(test(record) for test in tests)
        case Either(children):
            tests = [necessary(child) for child in children]
            return lambda record: any(test(record) for test in tests)
        case Leaf(compare, negated=False) if needles := _needles(compare):
            return lambda record: any(needle in record for needle in needles)
        case Leaf():
            return lambda record: True


def _needles(compare: Compare) -> list[bytes]:
    """What a record has to hold one of; empty if that cannot be said."""
    if compare.op not in ("$eq", "$in", "$contains"):
        return []
    needles = []
    for value in compare.values:
        if not isinstance(value, str):
            return []
        quoted = json.dumps(value, ensure_ascii=False)
        needles.append((quoted[1:-1] if compare.op == "$contains" else quoted).encode())
    return needles
