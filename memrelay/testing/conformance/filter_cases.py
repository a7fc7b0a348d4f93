"""The memories and filters that the filter tests put together."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from memrelay.testing.samples import NOW, SECOND, upsert
from memrelay.times import format_time
from memrelay.types import Upsert

Raw = dict[str, Any]

STRINGS: tuple[str, ...] = (
    "", " ", "u1", " u1", "u1 ", "U1", "u2", "u10", "u", "ä", "a\u0308", "😀", "it's", 'say "hi"',
    "back\\slash", "100%", "under_score", "a*b", "a?b", "{brace}", "[x]", "(p)|q", "a,b", "tab\there",
    "line\nbreak", "null", "true", "1", "1.0", "$eq", "x' or '1'='1", "z" * 1000,
)  # fmt: skip
NAMES = (
    *STRINGS[:4],
    "U1",
    "ä",
    "a\u0308",
    "it's",
    "back\\slash",
    "a*b",
    "{brace}",
    '"',
    "a:b",
    "😀",
)
NUMBERS: tuple[int | float, ...] = (
    0, 1, 1.5, -1, -1.5, 2, 10, 9, 100, 0.1, 0.1 + 0.2, 0.3, 1e-7, -1e-7, 1e22, 10**30, 2**31, 2**53 - 1,
    2**53, 2**53 + 1, -(2**53), 1e300,
)  # fmt: skip
ODDITIES: tuple[Any, ...] = (
    None, [], {}, {"a": 1}, True, False, ["u1", "u2"], ["u1", 1, True, None, ["u2"]], [1, 2.0], [[]],
    [None], ["true"],
)  # fmt: skip
ORDER = ("$gt", "$gte", "$lt", "$lte")
TIMES = (NOW, NOW + 1, NOW - 1, NOW - 86400 * SECOND, NOW + 3600 * SECOND, 0, -1, -(10**15))


def crafted() -> list[Upsert]:
    """About 80 memories that hold every oddity in every field."""
    rows: list[Raw] = [{"metadata": {"topic": value}} for value in STRINGS]
    rows += [{"metadata": {"score": value}} for value in NUMBERS]
    rows += [_everywhere(value) for value in ODDITIES]
    rows += [
        {"metadata": {}},
        {"metadata": {"done": True, "score": 1.0, "topic": "u1", "note": 1.0}},
    ]
    for index, row in enumerate(rows):
        row["user_id"] = (*NAMES, None)[index % (len(NAMES) + 1)]
        row["session_id"] = (None, *NAMES)[index * 7 % (len(NAMES) + 1)]
        row["tags"] = _tags(index)
        row["created_at"] = TIMES[index % len(TIMES)]
        metadata = row["metadata"]
        if index % 3 == 0:
            metadata.setdefault("done", index % 2 == 0)
            metadata.setdefault("note", STRINGS[index % len(STRINGS)])
            metadata["odd name.x"] = NAMES[index % len(NAMES)]
    return [upsert(_id(index), version=index + 1, **row) for index, row in enumerate(rows)]


def _everywhere(value: Any) -> Raw:
    return {"metadata": dict.fromkeys(("topic", "score", "done", "note", "odd name.x"), value)}


def _id(index: int) -> str:
    return f"{NAMES[index % len(NAMES)]}{index}" if index % 4 == 0 else f"m{index}"


def _tags(index: int) -> tuple[str, ...]:
    count = index % 4
    return tuple(STRINGS[(index * 5 + n * 11) % len(STRINGS)] for n in range(count))


def on_field(field: str, values: Sequence[Any], operators: Sequence[str]) -> Iterator[Raw]:
    """Every operator with every value, alone and negated, and lists of values."""
    for value in values:
        for operator in operators:
            yield {field: {operator: value}}
        yield {"$not": {field: {operators[0]: value}}}
    for exists in (True, False):
        yield {field: {"$exists": exists}}
        yield {"$not": {field: {"$exists": exists}}}
    for start in range(0, len(values), 5):
        yield {field: {"$in": list(values[start : start + 7])}}
        yield {"$not": {field: {"$in": list(values[start : start + 3])}}}
        if "$ne" in operators:
            yield {field: {"$nin": list(values[start : start + 3])}}


def random_filters(count: int, seed: int) -> list[Raw]:
    """Nested filters over all fields."""
    rng = random.Random(seed)
    return [_node(rng, depth=rng.randint(1, 4)) for _ in range(count)]


def _node(rng: random.Random, depth: int) -> Raw:
    if depth == 1:
        return _leaf(rng)
    shape = rng.choice(("$and", "$or", "$not", "several"))
    if shape == "$not":
        return {"$not": _node(rng, depth - 1)}
    children = [_node(rng, depth - 1) for _ in range(rng.randint(1, 3))]
    if shape == "several":
        return {key: value for child in children for key, value in child.items()}
    return {shape: children}


def _leaf(rng: random.Random) -> Raw:
    kind = rng.choice(("name", "tags", "time", "string", "number", "boolean", "undeclared"))
    if kind == "name":
        field = rng.choice(("user_id", "session_id"))
        return _test(rng, field, NAMES, ("$eq", "$ne", "$contains", *ORDER))
    if kind == "tags":
        return _test(rng, "tags", STRINGS, ("$eq", "$ne", "$contains"))
    if kind == "time":
        return _test(rng, "created_at", [format_time(t) for t in TIMES], ("$eq", "$ne", *ORDER))
    if kind == "string":
        return _test(rng, "metadata.topic", STRINGS, ("$eq", "$ne", "$contains", *ORDER))
    if kind == "number":
        return _test(rng, "metadata.score", NUMBERS, ("$eq", "$ne", *ORDER))
    if kind == "boolean":
        return _test(rng, "metadata.done", (True, False), ("$eq", "$ne"))
    return _test(rng, "metadata.note", (*STRINGS, 1, True), ("$eq",))


def _test(rng: random.Random, field: str, values: Sequence[Any], operators: Sequence[str]) -> Raw:
    lists = ("$in", "$nin") if "$ne" in operators else ("$in",)
    operator = rng.choice((*operators, *lists, "$exists"))
    if operator == "$exists":
        return {field: {operator: rng.random() < 0.5}}
    if operator in lists:
        return {field: {operator: [rng.choice(values) for _ in range(rng.randint(1, 6))]}}
    return {field: {operator: rng.choice(values)}}
