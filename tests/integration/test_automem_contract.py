"""What we found AutoMem to do: nine rules, on the double, and on a real one where the environment names it.

The driver stands on these. A test that fails on the real one alone says that AutoMem has changed, or that the
double is wrong.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import httpx
import pytest

from tests.servers import Automem

NOBODY = "00000000-0000-4000-8000-000000000000"
PATIENCE = 60.0
"""Seconds that AutoMem may take to enrich and to index."""

Json = Any


class Client:
    """AutoMem's HTTP API, with a prefix for the tags of one test."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.mark = f"t{uuid.uuid4().hex}"

    async def store(self, content: str, *tags: str, **more: Json) -> str:
        """The id of a new memory, stored by a batch of one."""
        return (await self.batch([{"content": content, "tags": list(tags), **more}]))[0]

    async def batch(self, memories: Sequence[Json]) -> list[str]:
        answer = await self.http.post("/memory/batch", json={"memories": memories})
        assert answer.status_code == 201, answer.text
        found: list[str] = answer.json()["memory_ids"]
        return found

    async def listed(self, *tags: str, **window: int) -> list[str]:
        """The ids of what has any of the tags, in the order of the answer."""
        params = [("tags", tag) for tag in tags]
        params += [(key, str(value)) for key, value in window.items()]
        answer = await self.http.get("/memory/by-tag", params=params)
        return [memory["id"] for memory in answer.json()["memories"]]

    async def recalled(self, *tags: str, **more: str) -> list[Json]:
        params = [("tags", tag) for tag in tags] + list(more.items())
        answer = await self.http.get("/recall", params=params)
        found: list[Json] = answer.json()["results"]
        return found

    async def memory(self, id: str) -> Json:
        return (await self.http.get(f"/memory/{id}")).json()["memory"]


@pytest.fixture
async def client(automem: Automem) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {automem.token}"}
    async with httpx.AsyncClient(base_url=automem.url, headers=headers, timeout=30) as http:
        client = Client(http)
        yield client
        while ids := await client.listed(client.mark, limit=200):
            for id in ids:
                await http.delete(f"/memory/{id}")


async def test_rule_1_tags_are_compared_without_case_and_have_levels(client: Client) -> None:
    mark = client.mark
    upper = await client.store("one", mark, f"{mark}:Ann/Home")
    assert await client.listed(f"{mark}:ANN/home") == [upper]
    assert await client.listed(f"{mark}:ann") == []
    assert [hit["id"] for hit in await client.recalled(f"{mark}:ann")] == [upper]
    assert (await client.memory(upper))["tags"][1] == f"{mark}:Ann/Home"


async def test_rule_2_recall_takes_any_tag_by_its_prefix_unless_told_otherwise(
    client: Client,
) -> None:
    mark = client.mark
    both = await client.store("both", mark, f"{mark}:a:1", f"{mark}:b")
    one = await client.store("one", mark, f"{mark}:a")
    by_default = await client.recalled(f"{mark}:a", f"{mark}:b")
    assert {hit["id"] for hit in by_default} == {both, one}
    exact = {"tag_match": "exact", "tag_mode": "all"}
    strict = await client.recalled(f"{mark}:a:1", f"{mark}:b", **exact)
    assert [hit["id"] for hit in strict] == [both]
    assert await client.recalled(f"{mark}:a,{mark}:b", **exact) == []


async def test_rule_3_relations_show_the_memories_of_others(client: Client) -> None:
    mark = client.mark
    mine = await client.store("mine", mark, f"{mark}:ann")
    theirs = await client.store("The secret of Bob", mark, f"{mark}:bob")
    pair = {"memory1_id": mine, "memory2_id": theirs, "type": "RELATES_TO"}
    assert (await client.http.post("/associate", json=pair)).status_code == 201
    (hit,) = await client.recalled(f"{mark}:ann", tag_match="exact", tag_mode="all")
    assert "The secret of Bob" in str(hit["relations"])


async def test_rule_4_a_given_id_is_ignored_so_the_same_write_twice_is_two(client: Client) -> None:
    memory = {"id": NOBODY, "content": "once", "tags": [client.mark]}
    for _ in range(2):
        assert (await client.http.post("/memory", json=memory)).status_code == 201
        await client.batch([memory])
    ids = await client.listed(client.mark)
    assert len(set(ids)) == 4
    assert NOBODY not in ids


async def test_rule_5_a_deletion_by_tags_takes_what_has_any_of_them(client: Client) -> None:
    mark = client.mark
    for user in ("ann", "bob"):
        await client.store(user, mark, f"{mark}:{user}", f"{mark}:talk")
    tags = [("tags", f"{mark}:ANN"), ("tags", f"{mark}:talk")]
    answer = await client.http.delete("/memory/by-tag", params=tags)
    assert answer.json()["deleted_count"] == 2
    assert await client.listed(mark) == []


async def test_rule_6_hits_of_vectors_have_no_id_inside_and_enrichment_adds_to_metadata(
    client: Client,
) -> None:
    mark, ours = client.mark, {"memrelay": {"record": '{"a": 1.0}', "vector": "QUJD"}}
    id = await client.store("Wonderful mountains everywhere", mark, metadata=ours)

    async def enriched() -> bool:
        return "enrichment" in (await client.memory(id))["metadata"]

    await _until(enriched)
    memory = await client.memory(id)
    assert memory["metadata"]["memrelay"] == ours["memrelay"]
    assert mark in memory["tags"]
    assert memory["summary"] == "Wonderful mountains everywhere"
    (hit,) = await client.recalled(mark, query="mountains", tag_match="exact", tag_mode="all")
    assert hit["match_type"] == "vector"
    assert hit["id"] == id
    assert "id" not in hit["memory"]


async def test_rule_6_a_patch_replaces_metadata_and_keeps_the_summary_of_the_old_content(
    client: Client,
) -> None:
    id = await client.store("The old text.", client.mark, metadata={"a": 1, "b": 2})

    async def summed_up() -> bool:
        return "summary" in await client.memory(id)

    await _until(summed_up)
    change = {"content": "Another text.", "metadata": {"c": 3}}
    assert (await client.http.patch(f"/memory/{id}", json=change)).status_code == 200
    memory = await client.memory(id)
    assert (memory["content"], memory["metadata"]) == ("Another text.", {"c": 3})
    assert memory["summary"] == "The old text."


async def test_rule_7_content_has_a_limit_and_metadata_none(client: Client) -> None:
    long = {"content": "x" * 2001, "tags": [client.mark]}
    for refused in (long, {**long, "content": " \n"}):
        batch = {"memories": [{"content": "fine", "tags": [client.mark]}, refused]}
        assert (await client.http.post("/memory/batch", json=batch)).status_code == 400
        assert (await client.http.post("/memory", json=refused)).status_code == 400
    assert await client.listed(client.mark) == []
    large = {"memrelay": {"record": "ä\u2028\x01" * 250_000}}
    id = await client.store("x" * 2000, client.mark, metadata=large)
    assert (await client.memory(id))["metadata"]["memrelay"] == large["memrelay"]


async def test_rule_7_a_nul_is_an_error_of_the_server_but_not_in_json_inside_of_json(
    client: Client,
) -> None:
    plain = {"content": "fine", "tags": [client.mark]}
    for poison in ({"content": "a\0b"}, {"metadata": {"memrelay": {"id": "a\0b"}}}):
        batch = {"memories": [plain, {**plain, **poison}]}
        assert (await client.http.post("/memory/batch", json=batch)).status_code == 500
    assert await client.listed(client.mark) == []
    nested = {"memrelay": {"record": json.dumps({"text": "a\0b"})}}
    id = await client.store("fine", client.mark, metadata=nested)
    assert (await client.memory(id))["metadata"]["memrelay"] == nested["memrelay"]


async def test_rule_8_a_single_write_queues_its_vector_and_a_batch_does_not(client: Client) -> None:
    memories = [{"content": f"{n} mountains", "tags": [client.mark]} for n in ("Seven", "Eight")]
    single = (await client.http.post("/memory", json=memories[0])).json()
    assert (single["qdrant"], single["embedding_status"]) == ("queued", "queued")
    batch = await client.http.post("/memory/batch", json={"memories": memories[1:]})
    assert batch.json()["qdrant"] == "stored (1)"

    async def both_found() -> bool:
        hits = await client.recalled(client.mark, query="mountains", tag_match="exact")
        return [hit["match_type"] for hit in hits] == ["vector", "vector"]

    await _until(both_found)


async def test_rule_8_a_batch_holds_500_and_keeps_their_order(client: Client) -> None:
    memories = [{"content": f"number {n}", "tags": [client.mark]} for n in range(501)]
    answer = await client.http.post("/memory/batch", json={"memories": memories})
    assert answer.status_code == 400
    ids = await client.batch(memories[:500])
    assert (await client.memory(ids[321]))["content"] == "number 321"


async def test_rule_9_ids_are_uuids_and_unknown_ones_are_404(client: Client) -> None:
    for method in ("GET", "DELETE"):
        assert (await client.http.request(method, "/memory/m1")).status_code == 400
        answer = await client.http.request(method, f"/memory/{NOBODY}")
        assert answer.status_code == 404
        assert answer.json()["code"] == 404
    id = await client.store("gone", client.mark)
    assert (await client.http.delete(f"/memory/{id}")).json()["memory_id"] == id
    assert (await client.http.delete(f"/memory/{id}")).status_code == 404


async def test_listings_stand_in_one_order_and_page_by_200(client: Client) -> None:
    mark = client.mark
    times = [f"20{10 + n % 7}-01-01T00:00:00Z" for n in range(260)]
    await client.batch([{"content": "x", "tags": [mark], "timestamp": time} for time in times])
    whole = await client.listed(mark, limit=1000)
    assert len(whole) == 200
    whole += await client.listed(mark, limit=1000, offset=200)
    assert len(set(whole)) == 260
    assert await client.listed(mark, limit=30, offset=190) == whole[190:220]
    memories = [await client.memory(id) for id in whole[::20]]
    keys = [(memory["timestamp"], memory["id"]) for memory in memories]
    assert keys == sorted(
        sorted(keys, key=lambda key: key[1]), key=lambda key: key[0], reverse=True
    )
    assert (await client.http.get("/memory/by-tag")).status_code == 400


async def test_a_token_is_taken_from_two_headers_and_health_asks_for_none(
    automem: Automem, client: Client
) -> None:
    if not automem.token:
        pytest.skip("MEMRELAY_TEST_AUTOMEM_TOKEN names none")
    async with httpx.AsyncClient(base_url=automem.url) as bare:
        params = {"tags": client.mark}
        refused = await bare.get("/memory/by-tag", params=params)
        assert refused.status_code == 401
        assert refused.json() == {"status": "error", "code": 401, "message": "Unauthorized"}
        key = {"X-API-Key": automem.token}
        assert (await bare.get("/memory/by-tag", params=params, headers=key)).status_code == 200
        assert (await bare.get("/health")).json()["status"] in ("healthy", "degraded")


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 another process does it
            await asyncio.sleep(0.1)
