"""Memories page by page, on a running service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from deploy.native.redis import RedisServer
from deploy.native.toxiproxy import Proxy, ToxiproxyServer
from memrelay import Memrelay
from tests.integration.conftest import Refused, Remember
from tests.rig import Rig, memory, wait_until
from tests.service import Service


def listed(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/memories/list", json=body)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def pages(http: httpx.Client, **body: Any) -> list[list[str]]:
    """The ids of every page, to the end."""
    found: list[list[str]] = []
    cursor = None
    while True:
        page = listed(http, **body, **({"cursor": cursor} if cursor else {}))
        found.append([memory["id"] for memory in page["memories"]])
        cursor = page["cursor"]
        if cursor is None:
            return found


@pytest.fixture
def ten(user: str, remember: Remember) -> list[str]:
    """The ids of ten memories of ``user``, in order; written in another one."""
    ids = [f"{user}-{n}é" for n in range(10)]
    remember(
        [
            {"id": id, "text": f"text {n}", "user_id": user, "tags": [f"t{n % 2}"]}
            for n, id in reversed(list(enumerate(ids)))
        ]
    )
    return ids


def test_pages_have_all_once_in_the_order_of_ids(
    http: httpx.Client, user: str, ten: list[str]
) -> None:
    assert pages(http, user_id=user) == [ten]
    assert pages(http, user_id=user, limit=4) == [ten[:4], ten[4:8], ten[8:]]
    assert pages(http, user_id=user, limit=5) == [ten[:5], ten[5:], []]


def test_a_page_shows_whole_memories_and_who_served(
    http: httpx.Client, user: str, ten: list[str]
) -> None:
    wait_until("it to be up to date", lambda: listed(http, user_id=user)["behind"] == 0, 60)
    page = listed(http, user_id=user, limit=1)
    (memory,) = page["memories"]
    assert memory == http.get(f"/v1/memories/{ten[0]}").json()
    assert (page["served_by"], page["fallback"], page["behind"]) == (["redis"], False, 0)


def test_a_selection_is_listed(http: httpx.Client, user: str, ten: list[str]) -> None:
    odd = {"tags": {"$contains": "t1"}}
    assert pages(http, user_id=user, filter=odd, limit=2) == [ten[1:5:2], ten[5:9:2], ten[9:]]
    assert pages(http, user_id=f"{user}-other") == [[]]


def test_what_has_expired_or_is_deleted_is_not_listed(
    http: httpx.Client, user: str, ten: list[str]
) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=0.5)).isoformat()
    memory = {"id": ten[3], "text": "not for long", "user_id": user, "expires_at": soon}
    http.post("/v1/memories", json={"memories": [memory]}, params={"wait": "stored"})
    http.post("/v1/memories/delete", json={"ids": [ten[0]]})
    left = [*ten[1:3], *ten[4:]]
    (first,) = pages(http, user_id=user)
    assert ten[0] not in first
    wait_until("it to expire", lambda: pages(http, user_id=user) == [left], 60)


def test_the_client_goes_through_pages(service: Service, user: str, ten: list[str]) -> None:
    with Memrelay(service.url) as relay:
        first = relay.list_memories(user_id=user, limit=6)
        rest = relay.list_memories(user_id=user, limit=6, cursor=first.cursor)
    assert [memory.id for memory in (*first.memories, *rest.memories)] == ten
    assert rest.cursor is None


@pytest.fixture
def far(
    make_rig: Callable[..., Rig],
    redis_server_factory: Callable[..., RedisServer],
    toxiproxy: ToxiproxyServer,
) -> tuple[Rig, Proxy]:
    """A service with three seconds for a search, and the way to its Redis."""
    store = redis_server_factory()
    proxy = toxiproxy.proxy("store", store.port)
    rig = make_rig(
        stores={"redis": store},
        detours={"redis": f"redis://127.0.0.1:{proxy.port}"},
        env={"MEMRELAY_SEARCH_TIMEOUT": "3"},
    ).start()
    return rig, proxy


def test_a_scope_that_is_too_large_to_be_looked_through_in_time_is_listed_all_the_same(
    far: tuple[Rig, Proxy],
) -> None:
    """By pages that hold little or nothing, where the store cannot filter by itself; each trip to it takes
    a tenth of a second here, and a part of 512 three."""
    rig, proxy = far
    kinds = {1000: "rare", 5000: "rare", 7999: "rare"}
    writer = rig.writer()
    for first in range(0, 8000, 500):
        numbers = range(first, first + 500)
        some = [
            memory(f"m{n:04}", "tea") | {"metadata": {"kind": kinds.get(n, "any")}} for n in numbers
        ]
        writer.put(some, lane="bulk")
    rig.wait_drained(180)
    with (
        httpx.Client(base_url=rig.service.url, timeout=60) as http,
        proxy.toxic("latency", latency=100),
    ):
        found = pages(http, filter={"metadata.kind": "rare"}, limit=2)
        assert [id for page in found for id in page] == ["m1000", "m5000", "m7999"]
        assert [] in found[:-1]
        assert pages(http, filter={"metadata.kind": "rare"}, limit=1, user_id="nobody") == [[]]


def test_what_was_looked_at_is_listed_when_the_next_part_does_not_come_in_time(
    far: tuple[Rig, Proxy],
) -> None:
    """Half a megabyte a second: ten of these memories come in time, and the next forty do not."""
    rig, proxy = far
    writer = rig.writer()
    for first in range(0, 40, 10):
        kinds = {n: "rare" if n == 35 else "any" for n in range(first, first + 10)}
        text = "tea" + " pot" * 15_000
        writer.put([memory(f"m{n}", text) | {"metadata": {"kind": kinds[n]}} for n in kinds])
    rig.wait_drained(180)
    with (
        httpx.Client(base_url=rig.service.url, timeout=60) as http,
        proxy.toxic("bandwidth", rate=500),
    ):
        found = pages(http, filter={"metadata.kind": "rare"}, limit=10)
        assert [id for page in found for id in page] == ["m35"]
        assert found[0] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"limit": 0}, "/limit"),
        ({"limit": 513}, "/limit"),
        ({"cursor": "?"}, "/cursor"),
        ({"cursor": "é"}, "/cursor"),
        ({"cursor": "AAAA"}, "/cursor"),  # NUL
        ({"cursor": "_w=="}, "/cursor"),  # no UTF-8
        ({"cursor": ""}, "/cursor"),
        ({"cursor": "a" * 5000}, "/cursor"),
        ({"filter": {}}, "/filter"),
        ({"after": "x"}, "/after"),
    ],
)
def test_what_is_wrong_is_named(
    http: httpx.Client, refused: Refused, body: dict[str, Any], pointer: str
) -> None:
    refused(http.post("/v1/memories/list", json=body), 422, pointer)
