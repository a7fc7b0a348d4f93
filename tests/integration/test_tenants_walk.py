"""Ten thousand requests of tenants who use the same ids, users, keys and Idempotency-Keys: no answer holds a
word of another's, and at the end each has what its own requests have left, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import httpx
import pytest

from memrelay.apikeys import Token
from tests.house import House

STEPS, TENANTS, SEED = 10_000, 10, 7
BUSY_TRIES = 20
"""On a machine so busy that the journal cannot say in a second whether a key is good; nothing was done."""
IDS, USERS, KEYS = 6, 3, 4
RARE, SELDOM = 0.05, ("step_delete_user", "step_around", "step_count", "step_search")
JSON = {"Content-Type": "application/json"}


class Tenant:
    """One who asks for one thing after the other. ``memories`` are what it has, by id: user and text."""

    def __init__(self, number: int, client: httpx.AsyncClient) -> None:
        self.name = f"walk{number}"
        self.word = f"canary{number:02}x"
        self.client = client
        self.random = random.Random(SEED + number)
        self.memories: dict[str, tuple[str, str]] = {}
        self.done: Counter[str] = Counter()
        self.named: dict[str, Any] = {}
        self.job = ""
        self.steps = 0

    async def walk(self, steps: int) -> None:
        kinds = [getattr(self, name) for name in dir(type(self)) if name.startswith("step_")]
        for self.steps in range(steps):
            rare = self.random.random() < RARE
            kind = self.random.choice([it for it in kinds if (it.__name__ in SELDOM) is rare])
            await kind()
            self.done[kind.__name__] += 1

    async def ask(self, method: str, path: str, sent: Any = None, **more: Any) -> httpx.Response:
        content = None if sent is None else json.dumps(sent).encode()
        headers = JSON | more.pop("headers", {})
        for _ in range(BUSY_TRIES):
            answer = await self.client.request(
                method, path, content=content, headers=headers, **more
            )
            told = answer.text
            assert told.count("canary") == told.count(self.word), (self.name, path, sent, told)
            if answer.status_code != 503:
                break
            await asyncio.sleep(0.5)
        assert answer.status_code < 500, told
        return answer

    @property
    def text(self) -> str:
        return f"{self.word} likes tea {self.steps}"

    def id(self) -> str:
        return f"id{self.random.randrange(IDS)}"

    def user(self) -> str:
        return f"user{self.random.randrange(USERS)}"

    def key(self) -> str:
        return f"key{self.random.randrange(KEYS)}"

    async def step_put(self) -> None:
        id, user, text = self.id(), self.user(), self.text
        memory = {"id": id, "user_id": user, "text": text, "tags": [self.word]}
        answer = await self.ask("POST", "/v1/memories", {"memories": [memory]})
        assert answer.status_code == 202, answer.text
        self.memories[id] = (user, text)
        self.job = answer.json()["job"]["id"]

    async def step_put_once(self) -> None:
        """All tenants use the same Idempotency-Keys, each with a body of its own."""
        name = f"once{self.random.randrange(4)}"
        body = {"memories": [{"id": name, "user_id": "once", "text": f"{self.word} {name}"}]}
        answer = await self.ask("POST", "/v1/memories", body, headers={"Idempotency-Key": name})
        assert answer.status_code == 202, answer.text
        assert answer.json() == self.named.setdefault(name, answer.json())
        self.memories[name] = ("once", f"{self.word} {name}")

    async def step_patch(self) -> None:
        id, text = self.id(), self.text
        answer = await self.ask("PATCH", f"/v1/memories/{id}", {"text": text})
        assert answer.status_code == (202 if id in self.memories else 404), answer.text
        if id in self.memories:
            self.memories[id] = (self.memories[id][0], text)

    async def step_delete(self) -> None:
        id = self.id()
        assert (await self.ask("DELETE", f"/v1/memories/{id}")).status_code == 202
        self.memories.pop(id, None)

    async def step_delete_user(self) -> None:
        user = self.user()
        await self.ask("POST", "/v1/memories/delete", {"user_id": user})
        self.memories = {id: it for id, it in self.memories.items() if it[0] != user}

    async def step_get(self) -> None:
        id = self.id()
        answer = await self.ask("GET", f"/v1/memories/{id}")
        if id not in self.memories:
            assert answer.status_code == 404, answer.text

    async def step_list(self) -> None:
        await self.ask("POST", "/v1/memories/list", {"user_id": self.user()})

    async def step_count(self) -> None:
        answer = await self.ask("POST", "/v1/memories/count", {"filter": {"tags": self.word}})
        assert answer.json()["count"] <= IDS, answer.text

    async def step_search(self) -> None:
        mode = self.random.choice(("semantic", "keyword", "hybrid"))
        await self.ask("POST", "/v1/search", {"query": "likes tea", "mode": mode})

    async def step_job(self) -> None:
        if self.job:
            assert (await self.ask("GET", f"/v1/jobs/{self.job}")).status_code == 200

    async def step_jobs(self) -> None:
        await self.ask("GET", "/v1/jobs", params={"limit": 5})

    async def step_value(self) -> None:
        key, value = self.key(), self.text
        path = f"/v1/sources/default/keys/{key}"
        answer = await self.ask("PUT", path, {"value": value}, params={"wait": "none"})
        assert answer.status_code == 202, answer.text
        self.memories[f"memrelay.key::{key}"] = ("memrelay.key:", value)

    async def step_get_value(self) -> None:
        await self.ask("GET", f"/v1/sources/default/keys/{self.key()}")

    async def step_keys(self) -> None:
        await self.ask("GET", "/v1/sources/default/keys")

    async def step_around(self) -> None:
        path = self.random.choice(("usage", "drivers", "dead-letters", "keys", "sources"))
        await self.ask("GET", f"/v1/{path}")

    async def stored(self) -> dict[str, tuple[str, str]]:
        """What there is once nothing of its waits any more."""
        for _ in range(3000):
            if (await self.ask("GET", "/v1/usage")).json()["waiting"]["memories"] == 0:
                break
            await asyncio.sleep(0.1)
        answer = await self.ask("POST", "/v1/memories/list", {"limit": 512})
        return {it["id"]: (it["user_id"], it["text"]) for it in answer.json()["memories"]}


@pytest.fixture
def tokens(house: House) -> list[Token]:
    return [house.made(f"walk{number}", "admin") for number in range(TENANTS)]


async def test_ten_thousand_requests_of_ten_tenants_leak_nothing(
    house: House, tokens: list[Token]
) -> None:
    tenants = [
        Tenant(
            number,
            httpx.AsyncClient(
                base_url=house.first.url,
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,
                verify=False,
            ),
        )
        for number, token in enumerate(tokens)
    ]
    try:
        async with asyncio.TaskGroup() as group:
            for tenant in tenants:
                group.create_task(tenant.walk(STEPS // TENANTS))
        assert sum(sum(tenant.done.values()) for tenant in tenants) == STEPS
        assert len({kind for tenant in tenants for kind in tenant.done}) == 15
        for tenant in tenants:
            assert await tenant.stored() == tenant.memories, tenant.name
    finally:
        for tenant in tenants:
            await tenant.client.aclose()
