"""Round trips: what goes in comes out byte for byte, whatever it is called and however large it is."""

from __future__ import annotations

from typing import Any

from memrelay.driver import Driver
from memrelay.testing.conformance.harness import (
    Conformance,
    apply_all,
    assert_holds,
    found_ids,
    statuses,
)
from memrelay.testing.samples import NOW, upsert
from memrelay.types import Delete, Op, Scope

ODD = "{}:*\"'\\/ ?#[]@!$&()+,;=%<>|^`~_-."
STRANGE = (
    "a", "A", " a", "a ", "a b", "ä", "a\u0308", "😀", "👩‍👩‍👧", "{a}", "a:b", "a*", "?", "'", '"', "\\",
    "/", "../x", "%", "_", "-", "--", "$eq", "null", "0", "00", "1e3", "日本語", "نص", "\u200b", "\u2028",
    ODD,
)  # fmt: skip
LONG = (ODD + "😀a\u0308é ") * 10
VALUES: dict[str, Any] = {
    "empty string": "",
    "space": " ",
    "zero": 0,
    "minus": -1,
    "tiny": 1e-7,
    "large": 1e22,
    "float that is whole": 1.0,
    "third": 1 / 3,
    "2^53": 2**53,
    "-2^53": -(2**53),
    "true": True,
    "false": False,
    "null": None,
    "empty list": [],
    "empty object": {},
    "list": [1, 1.5, "x", True, None, [], {}, [[1], {"a": []}]],
    "object": {"b": 1, "a": {"": {"deep": [{}]}}},
    "": "empty key",
    "quote\"d 'key' \\": "…",
    "unicode": "a\u0308 ä 😀 \u2028 \u007f",
    "control": "\t\n\r\u0001",
}


class RoundtripConformance(Conformance):
    """Names, sizes and values."""

    async def test_strange_ids_are_told_apart(self, driver: Driver, scope: Scope) -> None:
        ids = [*STRANGE, LONG[:256], LONG[:255]]
        assert len(set(ids)) == len(ids)
        ops: list[Op] = [upsert(id, version=n + 1) for n, id in enumerate(ids)]
        model = await apply_all(driver, scope, ops)
        await assert_holds(driver, scope, model)
        for id in ids:
            assert await found_ids(driver, scope, {"id": id}) == {id}
        deletes: list[Op] = [Delete(id, 100 + n) for n, id in enumerate(ids[::2])]
        assert await statuses(driver, scope, deletes) == model.apply(deletes)
        await assert_holds(driver, scope, model)

    async def test_strange_users_sessions_and_tags_are_told_apart(
        self, driver: Driver, scope: Scope
    ) -> None:
        ops: list[Op] = [
            upsert(f"m{n}", version=n + 1, user_id="ann", session_id=name, tags=(name, "all"))
            for n, name in enumerate(STRANGE)
        ]
        model = await apply_all(driver, scope, ops)
        await assert_holds(driver, scope, model)
        users: list[Op] = [
            upsert(f"u{n}", version=100 + n, user_id=name) for n, name in enumerate(STRANGE)
        ]
        await apply_all(driver, scope, users)
        for n, name in enumerate(STRANGE):
            assert await found_ids(driver, scope, {"user_id": name}) == {f"u{n}"}
            mine = {"user_id": "ann"}
            assert await found_ids(driver, scope, {**mine, "session_id": name}) == {f"m{n}"}
            assert await found_ids(driver, scope, {**mine, "tags": name}) == {f"m{n}"}

    async def test_values_come_back_byte_for_byte(self, driver: Driver, scope: Scope) -> None:
        ops: list[Op] = [upsert("all", metadata=VALUES, tags=("", " ", "x", "x"))]
        ops += [
            upsert(f"v{n}", version=n, metadata={name: value, "score": value, "topic": value})
            for n, (name, value) in enumerate(VALUES.items(), start=2)
        ]
        model = await apply_all(driver, scope, ops)
        await assert_holds(driver, scope, model)

    async def test_texts_of_64_kib_come_back(self, driver: Driver, scope: Scope) -> None:
        texts = ("x" * 65536, "ä" * 32768, "word " * 13107, "😀" * 16384, " \n", "")
        ops: list[Op] = [upsert(f"t{n}", version=n + 1, text=text) for n, text in enumerate(texts)]
        model = await apply_all(driver, scope, ops)
        await assert_holds(driver, scope, model)

    async def test_metadata_of_16_kib_comes_back(self, driver: Driver, scope: Scope) -> None:
        nested: Any = {"leaf": [1, 2.5, "ä", None]}
        for level in range(20):
            nested = {f"level{level}": nested, "pad": "p" * 300}
        wide = {f"key {n}": f"value {n} " * 4 for n in range(300)}
        lists = {"topic": [f"item {n}" for n in range(1000)], "score": list(range(1000))}
        ops: list[Op] = [
            upsert("nested", version=1, metadata=nested),
            upsert("wide", version=2, metadata=wide),
            upsert("lists", version=3, metadata=lists),
            upsert("long", version=4, metadata={"topic": "y" * 16384, "note": "z" * 16384}),
            upsert("tags", version=5, tags=tuple(f"tag {n}" for n in range(64))),
        ]
        model = await apply_all(driver, scope, ops)
        await assert_holds(driver, scope, model)
        assert await found_ids(driver, scope, {"metadata.topic": "item 999"}) == {"lists"}
        assert await found_ids(driver, scope, {"tags": "tag 63"}) == {"tags"}

    async def test_times_come_back(self, driver: Driver, scope: Scope) -> None:
        century = 100 * 365 * 86400 * 1_000_000
        times = (0, -1, 1, NOW, NOW + 1, -2 * century, 2 * century)
        ops: list[Op] = [
            upsert(f"t{n}", version=n + 1, created_at=time, expires_at=2 * century + n)
            for n, time in enumerate(times)
        ]
        model = await apply_all(driver, scope, ops)
        await assert_holds(driver, scope, model)
