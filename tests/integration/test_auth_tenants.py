"""Two tenants of one service: whatever one of them asks for, nothing of the other's comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.auth import COOKIE
from tests.house import ACME, GLOBEX, HOME, House
from tests.integration.conftest import Refused
from tests.rig import wait_until

ABSENT = "absent"
ABSENT_JOB = "job_6613ccf2a1b2c_1"
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Owned:
    """What ``acme`` has; ``canary`` is in all of it."""

    canary: str = field(default_factory=lambda: f"canary{uuid4().hex}")
    key: str = field(default_factory=lambda: f"key-{uuid4().hex}")
    jobs: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"id-{self.canary}"

    @property
    def memory(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "text": f"Ana likes {self.canary} tea.",
            "user_id": f"user-{self.canary}",
            "tags": [self.canary],
            "metadata": {"note": self.canary},
        }


@pytest.fixture
def acme(house: House) -> Iterator[httpx.Client]:
    with house.of(ACME) as client:
        yield client


@pytest.fixture
def globex(house: House) -> Iterator[httpx.Client]:
    with house.of(GLOBEX) as client:
        yield client


@pytest.fixture
def owned(acme: httpx.Client) -> Owned:
    """Stored on return: a memory, one by import, and a value under a key."""
    it = Owned()
    named = {"Idempotency-Key": it.key}
    one = acme.post("/v1/memories", json={"memories": [it.memory]}, headers=named).json()
    line = f'{{"text": "{it.canary} by import"}}\n'
    told = acme.post("/v1/memories/import", content=line, headers=named).text.splitlines()
    assert '"accepted":1' in told[-1]
    value = acme.put(f"/v1/sources/default/keys/{it.id}", json={"value": it.canary})
    assert value.is_success, value.text
    it.jobs.extend([one["job"]["id"], told[-1].split('"id":"')[1].split('"')[0]])
    for job in (*it.jobs, value.json()["job"]["id"]):
        assert acme.get(f"/v1/jobs/{job}", params={"wait": 60}).json()["status"] == "stored"
    return it


def alike(client: httpx.Client, method: str, there: str, absent: str, **sent: Any) -> None:
    """Both are 404, byte for byte the same."""
    headers = {"X-Request-ID": "thesame"}
    one, other = (client.request(method, path, headers=headers, **sent) for path in (there, absent))
    assert one.status_code == other.status_code == 404
    assert one.content == other.content
    differing = {"date"}
    assert {k: v for k, v in one.headers.items() if k not in differing} == {
        k: v for k, v in other.headers.items() if k not in differing
    }


def test_what_another_has_is_as_what_nobody_has(
    house: House, acme: httpx.Client, globex: httpx.Client, owned: Owned
) -> None:
    memory, absent = f"/v1/memories/{owned.id}", f"/v1/memories/{ABSENT}"
    alike(globex, "GET", memory, absent)
    alike(globex, "PATCH", memory, absent, json={"text": "taken over"})
    keys = "/v1/sources/default/keys"
    alike(globex, "GET", f"{keys}/{owned.id}", f"{keys}/{ABSENT}")
    alike(globex, "HEAD", f"{keys}/{owned.id}", f"{keys}/{ABSENT}")
    for job in owned.jobs:
        assert acme.get(f"/v1/jobs/{job}").status_code == 200
        alike(globex, "GET", f"/v1/jobs/{job}", f"/v1/jobs/{ABSENT_JOB}")
        alike(globex, "GET", f"/v1/jobs/{job}/events", f"/v1/jobs/{ABSENT_JOB}/events")
    alike(globex, "DELETE", f"/v1/keys/{house.keys[ACME, 'read'].id}", "/v1/keys/0123456789abcdef")
    with house.client(None, cookies={COOKIE: str(house.keys[GLOBEX, "read"])}) as browser:
        assert browser.get(f"/ui/jobs/{owned.jobs[0]}").status_code == 404


def test_nothing_of_another_is_found_listed_or_counted(
    house: House, globex: httpx.Client, owned: Owned
) -> None:
    user = {"user_id": owned.memory["user_id"]}
    asked = [
        globex.post("/v1/search", json={"query": owned.canary, "include": ["text", "metadata"]}),
        globex.post("/v1/search", json={"query": owned.canary, "mode": "keyword", **user}),
        globex.post("/v1/memories/list", json={}),
        globex.post("/v1/memories/list", json=user),
        globex.post("/v1/memories/count", json=user),
        globex.post("/v1/sources/default/search", json={"query": "*"}),
        globex.get("/v1/sources/default/keys"),
        globex.get("/v1/sources/default/keys", params={"pattern": "*"}),
        globex.get("/v1/jobs"),
        globex.get("/v1/dead-letters"),
        globex.get("/v1/drivers"),
        globex.get("/v1/sources"),
        globex.get("/v1/keys"),
        globex.get("/v1/usage"),
        globex.get("/v1/limits"),
    ]
    with house.client(None, cookies={COOKIE: str(house.keys[GLOBEX, "admin"])}) as browser:
        asked += [browser.get(path) for path in ("/", "/ui/jobs", "/ui/drivers")]
    secret = [owned.canary, owned.key, *owned.jobs, house.keys[ACME, "read"].id]
    for answer in asked:
        assert answer.status_code == 200, answer.text
        found = [word for word in secret if word in answer.text and word not in str(answer.url)]
        assert found == [], answer.text
    assert '"count":0' in asked[4].text


def test_what_waits_is_canceled_by_whose_it_is(
    house: House, acme: httpx.Client, globex: httpx.Client
) -> None:
    house.first.stop_worker()
    try:
        taken = acme.post("/v1/memories", json={"memories": [{"text": "waits"}]}).json()
        asked: list[dict[str, Any]] = [{"ids": [taken["job"]["id"]]}, {"status": "accepted"}]
        for body in asked:
            told = globex.post("/v1/jobs/cancel", json=body)
            assert (told.status_code, told.json()["canceled"]) == (200, 0), told.text
        assert acme.post("/v1/jobs/cancel", json=asked[0]).json()["canceled"] == 1
    finally:
        house.first.start_worker()


def test_a_key_of_a_request_is_ones_own(globex: httpx.Client, owned: Owned) -> None:
    named = {"Idempotency-Key": owned.key}
    own = {"memories": [{"text": "of globex"}]}
    answer = globex.post("/v1/memories", json=own, headers=named)
    assert answer.status_code == 202
    assert answer.json()["job"]["id"] not in owned.jobs


def test_deletes_reach_ones_own_alone(
    acme: httpx.Client, globex: httpx.Client, owned: Owned, refused: Refused
) -> None:
    user = {"user_id": owned.memory["user_id"]}
    done = [
        globex.delete(f"/v1/memories/{owned.id}"),
        globex.delete(f"/v1/sources/default/keys/{owned.id}"),
        globex.post("/v1/memories/delete", json=user),
        globex.post("/v1/memories/delete", json={"ids": [owned.id]}),
        globex.delete("/v1/sources/default", params={"confirm": "true"}),
        globex.post("/v1/memories/purge", json={"confirm": GLOBEX}),
    ]
    assert all(answer.is_success for answer in done[:1] + done[2:]), [it.text for it in done]
    refused(globex.post("/v1/memories/purge", json={"confirm": ACME}), 422, "/confirm")
    job = done[3].json()["job"]["id"]
    assert globex.get(f"/v1/jobs/{job}", params={"wait": 60}).json()["status"] == "stored"
    assert acme.get(f"/v1/memories/{owned.id}").json()["text"] == owned.memory["text"]
    assert acme.get(f"/v1/sources/default/keys/{owned.id}").is_success
    assert acme.post("/v1/memories/count", json=user).json()["count"] == 1


def test_the_same_id_is_two_memories(
    acme: httpx.Client, globex: httpx.Client, owned: Owned
) -> None:
    own = {"id": owned.id, "text": "of globex"}
    put = globex.post("/v1/memories", json={"memories": [own]}, params={"wait": "stored"})
    assert put.is_success
    wait_until("it to be there", lambda: globex.get(f"/v1/memories/{owned.id}").is_success, SECONDS)
    assert globex.get(f"/v1/memories/{owned.id}").json()["text"] == "of globex"
    assert acme.get(f"/v1/memories/{owned.id}").json()["text"] == owned.memory["text"]


def test_usage_is_of_ones_own(acme: httpx.Client, house: House, owned: Owned) -> None:
    def total(client: httpx.Client) -> dict[str, int]:
        usage = client.get("/v1/usage").json()["total"]
        assert set(usage) == {"memories", "bytes", "embedding_tokens"}
        return dict(usage)

    def waiting(client: httpx.Client) -> int:
        return int(client.get("/v1/usage").json()["waiting"]["memories"])

    with house.of(HOME) as home:
        for client in (acme, home):
            wait_until("what others wrote", lambda it=client: waiting(it) == 0, SECONDS)
        before, others = total(acme), total(home)
        text = 3000 * "x"
        body = {"memories": [{"text": text}, {"text": text}]}
        job = acme.post("/v1/memories", json=body).json()["job"]["id"]
        assert acme.get(f"/v1/jobs/{job}", params={"wait": 60}).json()["status"] == "stored"
        after = total(acme)
        acme.post("/v1/memories/delete", json={"ids": [owned.id]})
        assert total(acme)["memories"] == after["memories"] == before["memories"] + 2
        assert after["bytes"] - before["bytes"] >= 6000
        assert after["embedding_tokens"] - before["embedding_tokens"] == 2 * 1001
        assert total(home) == others


def test_without_the_journal_known_keys_search_on_and_others_are_told_to_wait(
    house: House, owned: Owned, refused: Refused
) -> None:
    known, unknown = house.made(ACME, "admin"), house.made(ACME, "read")
    search = {"query": owned.canary, "user_id": owned.memory["user_id"], "mode": "semantic"}

    def found(client: httpx.Client) -> list[str]:
        answer = client.post("/v1/search", json=search)
        return [hit["id"] for hit in answer.json()["hits"]] if answer.is_success else []

    with house.client(known) as client, house.client(unknown) as other:
        wait_until("it to be found", lambda: found(client) == [owned.id], SECONDS)
        house.journal.stop()
        try:
            assert found(client) == [owned.id]
            refused(client.post("/v1/memories", json={"memories": [{"text": "tea"}]}), 503)
            refused(client.patch(f"/v1/memories/{owned.id}", json={"text": "tea"}), 503)
            refused(client.post("/v1/jobs/cancel", json={"ids": owned.jobs}), 503)
            refused(client.post("/v1/keys", json={"scopes": ["read"], "name": "x"}), 503)
            for path in ("jobs", f"jobs/{owned.jobs[0]}/events", "usage", "keys"):
                refused(client.get(f"/v1/{path}"), 503)
            told = other.post("/v1/search", json=search)
            assert refused(told, 503)["code"] == "unavailable"
            assert told.headers["retry-after"]
            with house.client(f"{str(known)[:-4]}aaaa") as liar:
                refused(liar.post("/v1/search", json=search), 401)
        finally:
            house.journal.start()
        wait_until("it to be known", lambda: found(other) == [owned.id], SECONDS)
        house.first.restart_api()
        assert found(client) == [owned.id]
        with house.client(None) as nobody:
            refused(nobody.post("/v1/search", json=search), 401)
