"""Records as they lie in a partition: the stamp, then the canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

from memrelay.filters import METADATA, Compare, Condition, Either, Every, Leaf, Scalar
from memrelay.types import Memory, memory_from_json

STAMP = 20
VERSION = 19
MOST_NEEDLES = 16
_EXACT = 10**15

# One of these strings has to be in a record's bytes.
type _Clause = tuple[bytes, ...]


def decode(record: bytes, source: str) -> Memory | None:
    """The memory; None if the bytes are no record, as only damage leaves them."""
    try:
        return memory_from_json(record[STAMP:], source=source, version=int(record[:VERSION]))
    except (ValueError, TypeError, KeyError):
        return None


def necessary(condition: Condition) -> Callable[[bytes], bool]:
    """A test on a record's bytes that holds whenever ``condition`` does, far quicker than parsing.

    What ``$eq``, ``$in`` and ``$contains`` name stands in the JSON as this process would write it.
    """
    clauses = _clauses(condition)

    def test(record: bytes) -> bool:
        for clause in clauses:
            for needle in clause:
                if needle in record:
                    break
            else:
                return False
        return True

    return test


def _clauses(condition: Condition) -> list[_Clause]:
    match condition:
        case Leaf(compare, negated):
            needles = () if negated else _needles(compare)
            return [needles] if needles else []
        case Every(children):
            return [clause for child in children for clause in _clauses(child)]
        case Either(children):
            firsts = [clauses[0] for child in children if (clauses := _clauses(child))]
            union = tuple(needle for clause in firsts for needle in clause)
            return [union] if len(firsts) == len(children) and len(union) <= MOST_NEEDLES else []


def _needles(compare: Compare) -> _Clause:
    """What a record has to hold one of; empty if that cannot be said, or is true of a partition."""
    named = compare.op in ("$eq", "$in", "$contains") and len(compare.values) < MOST_NEEDLES
    if not named or compare.field in ("user_id", "created_at"):
        return ()
    spelled = [_spelling(value) for value in compare.values]
    if compare.op == "$contains":  # a part of a string too, so without the quotes
        spelled = [text.strip('"') for text in spelled]
    elif compare.field.startswith(METADATA):
        key = json.dumps(compare.field[len(METADATA) :], ensure_ascii=False)
        spelled = [f"{key}:{text}" for text in spelled] + [f"{key}:["]
    return tuple(text.encode() for text in spelled)


def _spelling(value: Scalar) -> str:
    """How the JSON of every value equal to ``value`` begins; empty if that cannot be said."""
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    if value == 0 or abs(value) >= _EXACT:
        return ""  # 0 equals -0.0, and 1e16 equals 10000000000000000
    return str(int(value)) if value == int(value) else repr(value)
