"""The embeddings server of our own, spoken to over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from memrelay.testing.model_server import Behaviour, ModelServer, vector_of
from memrelay.types import vector_to_bytes

Served = tuple[ModelServer, httpx.AsyncClient]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with (
        ModelServer(Behaviour(dimensions=8)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=5) as client,
    ):
        yield server, client


async def ask(client: httpx.AsyncClient, texts: list[str], **more: object) -> httpx.Response:
    return await client.post("/embeddings", json={"model": "m", "input": texts, **more})


async def test_vectors_follow_from_the_text_alone(served: Served) -> None:
    _, client = served
    answer = (await ask(client, ["a", "b", "a"])).json()
    vectors = [vector_to_bytes(item["embedding"]) for item in answer["data"]]
    assert vectors == [vector_of("a", 8), vector_of("b", 8), vector_of("a", 8)]
    assert vectors[0] != vectors[1]
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]


async def test_base64_holds_the_same_vectors(served: Served) -> None:
    _, client = served
    answer = (await ask(client, ["a"], encoding_format="base64", dimensions=16)).json()
    assert base64.b64decode(answer["data"][0]["embedding"]) == vector_of("a", 16)


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ("rate_limit", 429, "7"),
        ("unavailable", 503, "7"),
        ("error", 500, None),
        ("unauthorized", 401, None),
        ("not_found", 404, None),
        ("too_long", 400, None),
    ],
)
async def test_a_fault_strikes_as_often_as_it_was_asked_to(
    served: Served, fault: str, status: int, retry_after: str | None
) -> None:
    server, client = served
    server.behave(fault=fault, times=2, retry_after=7)
    answers = [await ask(client, ["a"]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].headers.get("retry-after") == retry_after
    assert server.stats.failures == 2


async def test_answers_can_be_wrong_in_every_way(served: Served) -> None:
    server, client = served

    async def answer(fault: str) -> list[dict[str, object]]:
        server.behave(fault=fault, times=1)
        body: list[dict[str, object]] = json.loads((await ask(client, ["a", "b"])).text)["data"]
        return body

    assert len(await answer("short")) == 1
    assert [item["index"] for item in await answer("duplicate")] == [0, 0]
    assert [item["index"] for item in await answer("reversed")] == [1, 0]
    assert len((await answer("dimension"))[0]["embedding"]) == 9  # type: ignore[arg-type]
    assert "nan" in str((await answer("nan"))[0]["embedding"])
    assert (await answer("zero"))[0]["embedding"] == [0.0] * 8


async def test_a_call_that_hangs_and_one_that_is_cut_off(served: Served) -> None:
    server, client = served
    server.behave(fault="hang", times=1)
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/embeddings", json={"input": "a"}, timeout=0.1)
    server.behave(fault="disconnect", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await ask(client, ["a"])


async def test_poison_and_too_many_inputs_are_refused(served: Served) -> None:
    server, client = served
    server.behave(poison="arsenic", max_inputs=2)
    assert (await ask(client, ["tea", "arsenic cake"])).status_code == 400
    assert (await ask(client, ["a", "b", "c"])).status_code == 400
    assert (await ask(client, ["tea", "cake"])).status_code == 200


async def test_calls_are_counted(served: Served) -> None:
    server, client = served
    server.behave(latency=0.05)
    await asyncio.gather(ask(client, ["a", "b"]), ask(client, ["c"]), ask(client, ["d"]))
    stats = (await client.get(server.url.replace("/v1", "/stats"))).json()
    assert stats == {
        "calls": 3,
        "inputs": 4,
        "failures": 0,
        "most_inputs": 2,
        "most_at_once": 3,
    }


async def test_as_a_process_it_is_controlled_over_http() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "memrelay.testing.model_server", "--dimensions", "4"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        url = line.removeprefix("listening on ").strip()
        async with httpx.AsyncClient(base_url=url, timeout=5) as client:
            assert len((await ask(client, ["a"])).json()["data"][0]["embedding"]) == 4
            control = url.replace("/v1", "/control")
            changed = await client.post(control, json={"fault": "rate_limit", "times": 1})
            assert changed.json()["fault"] == "rate_limit"
            assert [(await ask(client, ["a"])).status_code for _ in range(2)] == [429, 200]
            assert (await client.post(control, json={"color": "red"})).status_code == 400
    finally:
        process.terminate()
        await process.wait()
