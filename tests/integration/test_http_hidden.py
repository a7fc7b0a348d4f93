"""What was deleted or given to another user is not read again, from a driver that has not done it yet.

Redis and SQLite are the drivers. The worker is stopped, or one driver was down when a write was stored,
so that the driver which is asked still holds what must not be seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis

from api.lag import LOOK_SECONDS
from backends.journal.journal import PREFIX
from deploy.native.server import Server
from tests.rig import Rig, SqliteFile, redis_servers, wait_until

DRIVERS = ("redis", "sqlite")
MODES = {"redis": ("semantic",), "sqlite": ("semantic", "keyword")}
FEW = 3


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One service for the tests which kill nothing but its worker."""
    directory = tmp_path_factory.mktemp("hidden")
    with redis_servers(directory) as start:
        stores: dict[str, Server | SqliteFile] = {
            "redis": start(),
            "sqlite": SqliteFile(directory / "replica.db"),
        }
        rig = Rig(directory, start, stores=stores)
        try:
            yield rig.start()
        finally:
            rig.close()


@pytest.fixture
def client(shared: Rig) -> Iterator[Client]:
    with Client(shared) as client:
        yield client


class Client:
    """One user's view of a rig, whom no other test knows."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.user = f"u{uuid4().hex}"
        self.http = httpx.Client(base_url=rig.service.url, timeout=60)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def id(self, number: int) -> str:
        return f"{self.user}-{number}"

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.http.post(f"/v1/{path}", json=body)
        assert answer.status_code in (200, 202), answer.text
        value: dict[str, Any] = answer.json()
        return value

    def add(self, *numbers: int, text: str = "the old harbour", **fields: Any) -> None:
        memories = [
            {"id": self.id(n), "text": f"{text} {n}", "user_id": self.user, **fields}
            for n in numbers
        ]
        self.post("memories", memories=memories)

    def remember(self, *numbers: int, **fields: Any) -> None:
        """Stored in every driver on return."""
        self.add(*numbers, **fields)
        self.drained()

    def drained(self) -> None:
        self.rig.wait_drained(120)

    def delete(self, **selection: Any) -> dict[str, Any]:
        return self.post("memories/delete", **selection)

    def found(self, driver: str, mode: str = "semantic", **body: Any) -> list[str]:
        """The numbers of the memories that a search of one driver finds."""
        asked = {"query": "harbour", "user_id": self.user, "top_k": 50} | body
        answer = self.post("search", drivers=[driver], mode=mode, **asked)
        assert (answer["served_by"], answer["fallback"]) == ([driver], False)
        return sorted(hit["id"].rpartition("-")[2] for hit in answer["hits"])

    def sees(self, *numbers: int) -> None:
        """Whichever driver answers, in every mode; and a count, and reading each by id."""
        wanted = [str(number) for number in sorted(numbers)]
        for driver in DRIVERS:
            for mode in MODES[driver]:
                assert self.found(driver, mode) == wanted, (driver, mode)
        for more in ({}, {"recency": {"half_life": 60}}):
            answer = self.post("search", query="harbour", user_id=self.user, top_k=50, **more)
            assert sorted(hit["id"].rpartition("-")[2] for hit in answer["hits"]) == wanted
        assert self.count() == len(numbers)
        listed = self.post("memories/list", user_id=self.user)["memories"]
        assert sorted(memory["id"].rpartition("-")[2] for memory in listed) == wanted
        for number in range(FEW):
            status = self.http.get(f"/v1/memories/{self.id(number)}").status_code
            assert status == (200 if number in numbers else 404), number

    def count(self, **selection: Any) -> int:
        number: int = self.post("memories/count", user_id=self.user, **selection)["count"]
        return number


@contextmanager
def worker_frozen(rig: Rig) -> Iterator[None]:
    """Nothing is stored or deleted meanwhile."""
    rig.service.freeze_worker()
    try:
        yield
    finally:
        rig.service.thaw_worker()


def test_deleted_by_id_is_gone_at_once(client: Client) -> None:
    client.remember(0, 1, 2)
    client.sees(0, 1, 2)
    with worker_frozen(client.rig):
        client.delete(ids=[client.id(1)])
        client.sees(0, 2)
    client.drained()
    client.sees(0, 2)


def test_all_that_a_user_had_is_gone_at_once(client: Client) -> None:
    client.remember(0, 1, 2)
    with worker_frozen(client.rig):
        answer = client.delete(user_id=client.user)
        assert answer["memories"] == []
        assert (answer["job"]["total"], answer["job"]["status"]) == (1, "accepted")
        client.sees()
    client.drained()
    client.sees()
    assert client.http.get(f"/v1/jobs/{answer['job']['id']}").json()["status"] == "stored"


def test_what_a_filter_selects_is_gone_at_once_and_nothing_else(client: Client) -> None:
    client.remember(0, tags=["keep"])
    client.remember(1, 2, tags=["drop"])
    with worker_frozen(client.rig):
        client.delete(user_id=client.user, filter={"tags": {"$contains": "drop"}})
        client.sees(0)
    client.drained()
    client.sees(0)


def test_delete_by_user_covers_what_was_accepted_before_and_is_not_stored_yet(
    client: Client,
) -> None:
    with worker_frozen(client.rig):
        client.add(0, 1)
        client.delete(user_id=client.user)
        client.add(2)
    client.drained()
    client.sees(2)


def test_memory_that_was_written_again_after_its_delete_is_there_once_it_is_stored(
    client: Client,
) -> None:
    client.remember(0, 1)
    with worker_frozen(client.rig):
        client.delete(ids=[client.id(0)])
        client.delete(user_id=client.user)
        client.add(0, text="the new harbour")
        client.sees()
    client.drained()
    client.sees(0)
    memory = client.http.get(f"/v1/memories/{client.id(0)}").json()
    assert memory["text"] == "the new harbour 0"


def test_page_is_filled_when_its_best_hits_are_deleted(client: Client) -> None:
    client.remember(*range(40), text="harbour")
    client.remember(*range(40, 45), text="a mountain far away from the harbour, number")
    with worker_frozen(client.rig):
        client.delete(ids=[client.id(number) for number in range(40)])
        for driver in DRIVERS:
            assert len(client.found(driver, top_k=3)) == 3
            assert client.found(driver, top_k=20) == ["40", "41", "42", "43", "44"]
        assert client.count() == 5
    client.drained()


def test_purge_empties_the_namespace_at_once(client: Client) -> None:
    client.remember(0, 1, 2)
    with worker_frozen(client.rig):
        answer = client.post("memories/purge", confirm="default")
        [job] = answer["jobs"]
        assert (job["source"], job["total"]) == ("default", 1)
        client.sees()
        assert client.post("memories/count")["count"] == 0
        client.add(1)
    client.drained()
    client.sees(1)


@pytest.fixture
def pair(make_rig: Callable[..., Rig]) -> Iterator[Client]:
    """A rig whose stores are two Redis servers, each to be killed alone."""
    rig = make_rig()
    rig.start()
    with Client(rig) as client:
        yield client


@contextmanager
def journal_of(rig: Rig) -> Iterator[Any]:
    client = redis.Redis.from_url(rig.journal.url, socket_timeout=60)
    try:
        yield client
    finally:
        client.close()


def lagging(rig: Rig, driver: str) -> int:
    """How many writes the journal knows that ``driver`` has not applied."""
    with journal_of(rig) as journal:
        number: int = journal.hlen(f"{PREFIX}lag:default|default|{driver}")
        return number


def back_without_worker(rig: Rig, *, seconds: float = 60.0) -> None:
    """The replica answers again, and does not have what it missed."""
    wait_until("the replica's lag to be noted", lambda: lagging(rig, "replica") > 0, seconds)
    rig.service.stop_worker()
    rig.revive("replica")
    wait_until("the API to find the replica", lambda: _serves(rig, "replica"), seconds)


def _serves(rig: Rig, driver: str) -> bool:
    body = {"query": "anything", "user_id": "nobody", "drivers": [driver]}
    return httpx.post(f"{rig.service.url}/v1/search", json=body).status_code == 200


def test_memory_that_moved_to_another_user_is_not_shown_to_the_first_one(pair: Client) -> None:
    pair.remember(0, 1)
    pair.rig.kill("replica")
    pair.add(0, user_id="another")
    back_without_worker(pair.rig)
    assert pair.found("replica") == ["1"]
    assert pair.found("redis") == ["1"]
    assert pair.found("replica", user_id="another") == []
    pair.rig.service.start_worker()
    pair.drained()
    assert pair.found("replica", user_id="another") == ["0"]


def test_what_was_deleted_and_written_again_meanwhile_does_not_show_its_old_text(
    pair: Client,
) -> None:
    pair.remember(0, 1)
    pair.rig.kill("replica")
    pair.delete(ids=[pair.id(0)])
    pair.add(0, text="the new harbour")
    wait_until("the primary to have it", lambda: pair.found("redis") == ["0", "1"], 60)
    back_without_worker(pair.rig)
    assert pair.found("replica") == ["1"]
    pair.rig.service.start_worker()
    pair.drained()
    assert pair.found("replica") == ["0", "1"]
    assert [lagging(pair.rig, driver) for driver in ("redis", "replica")] == [0, 0]


def test_driver_that_is_detached_does_not_serve(pair: Client) -> None:
    pair.remember(0, 1)
    pair.rig.service.stop_worker()  # it would bring the driver back at once
    with journal_of(pair.rig) as journal:
        journal.hset(f"{PREFIX}detached", "redis", "away")
    answer = pair.post("search", query="harbour", user_id=pair.user, mode="semantic")
    assert (answer["served_by"], answer["fallback"]) == (["replica"], True)
    assert len(answer["hits"]) == 2
    for path, body in (("search", {"query": "harbour"}), ("memories/count", {})):
        answer = pair.post(path, user_id=pair.user, **body)
        assert (answer["served_by"], answer["fallback"]) == (["replica"], True)
    assert pair.http.get(f"/v1/memories/{pair.id(0)}").status_code == 200
    alone = {"query": "harbour", "user_id": pair.user, "drivers": ["redis"]}
    refused = pair.http.post("/v1/search", json=alone)
    assert (refused.status_code, refused.json()["code"]) == (503, "no_driver")
    assert "retry-after" in refused.headers
    with journal_of(pair.rig) as journal:
        journal.hdel(f"{PREFIX}detached", "redis")
    assert pair.found("redis") == ["0", "1"]


def test_without_the_journal_drivers_serve_that_had_nothing_to_delete(pair: Client) -> None:
    pair.remember(0, 1)
    for driver in ("redis", "replica"):
        assert pair.found(driver) == ["0", "1"]
    pair.rig.kill("journal")
    answer = pair.post("search", query="harbour", user_id=pair.user)
    assert (answer["behind"], answer["fallback"], len(answer["hits"])) == (None, False, 2)
    assert pair.count() == 2
    assert pair.http.get(f"/v1/memories/{pair.id(0)}").status_code == 200


def test_without_the_journal_a_driver_does_not_serve_that_had_deletes_to_apply(
    pair: Client,
) -> None:
    pair.remember(0, 1)
    pair.rig.kill("replica")
    pair.delete(ids=[pair.id(0)])
    wait_until("the primary to have done it", lambda: lagging(pair.rig, "redis") == 0, 60)
    back_without_worker(pair.rig)
    assert pair.found("redis") == ["1"]
    assert pair.found("replica") == ["1"]
    pair.rig.kill("journal")
    assert pair.found("redis") == ["1"]
    body = {"query": "harbour", "user_id": pair.user, "drivers": ["replica"]}
    assert pair.http.post("/v1/search", json=body).status_code == 503
    answer = pair.post("search", drivers=["replica", "redis"], query="harbour", user_id=pair.user)
    assert (answer["served_by"], answer["fallback"]) == (["redis"], True)


@pytest.mark.parametrize("by_another", [False, True])
def test_delete_that_was_accepted_hides_although_the_journal_is_gone_since(
    pair: Client, by_another: bool
) -> None:
    """Whether this API accepted it or another one did, a moment ago."""
    pair.remember(0, 1)
    accepts = pair.rig.service
    if by_another:
        accepts = pair.rig.another()
        accepts.start_api()
    assert pair.found("redis") == ["0", "1"]
    with worker_frozen(pair.rig):
        selection = {"user_id": pair.user} if by_another else {"ids": [pair.id(0)]}
        answer = httpx.post(f"{accepts.url}/v1/memories/delete", json=selection)
        assert answer.status_code == 202
        time.sleep(1)  # Redis answers who asked before it tells the others, who have to hear it
        pair.rig.kill("journal")
        refused = pair.http.post("/v1/search", json={"query": "harbour", "user_id": pair.user})
        assert refused.status_code == 503


def test_search_is_answered_in_time_while_the_journal_hangs(pair: Client) -> None:
    pair.remember(0, 1)
    assert pair.found("redis") == ["0", "1"]
    pair.rig.freeze("journal")
    try:
        took = []
        for _ in range(4):
            began = time.monotonic()
            assert pair.found("redis") == ["0", "1"]
            took.append(time.monotonic() - began)
        assert took[0] < 10
        assert min(took[1:]) < LOOK_SECONDS, "each has waited for the journal"
    finally:
        pair.rig.thaw("journal")
    wait_until("the journal to be asked again", lambda: _behind(pair) == 0, 60)


def _behind(client: Client) -> int | None:
    answer = client.post("search", query="harbour", user_id=client.user)
    behind: int | None = answer["behind"]
    return behind
