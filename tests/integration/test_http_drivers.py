"""Drivers, limits and usage over HTTP; a driver that is compared, repaired, taken out and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import apsw
import httpx
import pytest

from tests.integration.conftest import Refused, Remember
from tests.rig import Rig, memory, wait_until
from tests.service import Service


def drivers(http: httpx.Client) -> dict[str, dict[str, Any]]:
    answer = http.get("/v1/drivers")
    assert answer.status_code == 200, answer.text
    return {driver["name"]: driver for driver in answer.json()["drivers"]}


def wait_synced(http: httpx.Client, name: str, asked_at: str) -> dict[str, Any]:
    """The pass that was asked for then, once it has ended."""

    def ended() -> bool:
        sync = drivers(http)[name]["sync"]
        return bool(sync and sync["asked_at"] == asked_at and sync["ended_at"])

    wait_until(f"the sync of {name}", ended, 180)
    sync: dict[str, Any] = drivers(http)[name]["sync"]
    return sync


def test_drivers_say_what_they_are_and_how_they_are(http: httpx.Client, service: Service) -> None:
    wait_until(
        "all to serve", lambda: {d["state"] for d in drivers(http).values()} == {"serving"}, 180
    )
    found = drivers(http)
    assert list(found) == ["redis", "sqlite"]
    assert found["redis"]["type"] == "redis"
    assert found["redis"]["sources"] == ["default", "vectors", "plain"]
    assert found["sqlite"]["sources"] == ["default", "vectors"]
    for driver in found.values():
        assert driver["answers"] is True
        assert driver["breaker"] == "closed"
        assert driver["alarm"] is None


def test_driver_that_is_down_is_unreachable_and_its_backlog_grows_old(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig().start()
    with httpx.Client(base_url=rig.service.url, timeout=60) as http:
        assert drivers(http)["replica"]["oldest_seconds"] is None
        rig.kill("replica")
        rig.writer().put([memory("a", "waits for the replica")])
        wait_until("the primary to have it", lambda: drivers(http)["redis"]["backlog"] == 0, 60)
        time.sleep(1)
        replica = drivers(http)["replica"]
        assert (replica["state"], replica["answers"], replica["backlog"]) == (
            "unreachable",
            False,
            1,
        )
        assert 1 <= replica["oldest_seconds"] < 300
        assert drivers(http)["redis"]["oldest_seconds"] is None
        rig.revive("replica")
        wait_until("it to catch up", lambda: drivers(http)["replica"]["backlog"] == 0, 120)
        wait_until("it to serve", lambda: drivers(http)["replica"]["state"] == "serving", 180)


@pytest.mark.parametrize("full", [False, True])
def test_sync_finds_and_mends_what_was_taken_away_behind_our_back(
    http: httpx.Client, service: Service, user: str, remember: Remember, full: bool
) -> None:
    remember([{"text": f"number {n}", "id": f"{user}-{n}", "user_id": user} for n in range(3)])
    lose(service, f"{user}-1")
    assert replica_count(http, user) == 2
    asked = http.post("/v1/drivers/sqlite/sync", json={"full": full})
    assert asked.status_code == 202
    told = asked.json()
    assert (told["name"], told["started"], told["sync"]["full"]) == ("sqlite", True, full)
    sync = wait_synced(http, "sqlite", told["sync"]["asked_at"])
    assert sync["error"] is None
    assert sync["report"]["default"]["peers"]["sqlite"]["repaired"] == 1
    assert sync["report"]["default"]["peers"]["redis"]["repaired"] == 0
    assert replica_count(http, user) == 3


def test_sync_that_is_under_way_is_not_begun_again(rig: Rig) -> None:
    rig.service.stop_worker()
    with httpx.Client(base_url=rig.service.url, timeout=60) as http:
        first, again = (http.post("/v1/drivers/replica/sync").json() for _ in range(2))
    assert (first["started"], again["started"]) == (True, False)
    assert again["sync"] == first["sync"]


def replica_count(http: httpx.Client, user: str) -> int:
    body = {"query": "number", "user_id": user, "drivers": ["sqlite"], "mode": "semantic"}
    return len(http.post("/v1/search", json=body).json()["hits"])


def lose(service: Service, id: str) -> None:
    """Remove one memory from the replica's file."""
    connection = apsw.Connection(service.env["MEMRELAY_DRIVERS__SQLITE__PATH"])
    connection.set_busy_timeout(60_000)
    connection.execute("DELETE FROM memories WHERE id = ?", (id,))
    assert connection.changes() == 1
    connection.close()


def test_driver_that_was_taken_out_stays_out_until_it_is_synced(
    http: httpx.Client, user: str
) -> None:
    answer = http.post("/v1/drivers/sqlite/detach")
    assert answer.status_code == 202
    assert answer.json() == {"name": "sqlite", "state": "away", "changed": True}
    body = {"memories": [{"text": "meanwhile", "user_id": user}]}
    job = http.post("/v1/memories", json=body).headers["Location"]
    time.sleep(3)
    sqlite = drivers(http)["sqlite"]
    assert (sqlite["state"], sqlite["held"], sqlite["answers"]) == ("away", True, True)
    assert http.post("/v1/drivers/sqlite/sync").status_code == 202
    assert drivers(http)["sqlite"]["held"] is False
    wait_until("it to be back", lambda: drivers(http)["sqlite"]["state"] == "serving", 180)
    wait_until("all to be stored", lambda: http.get(job).json()["status"] == "stored", 180)
    assert replica_count(http, user) == 1


@pytest.mark.parametrize("action", ["sync", "detach", "retire", "join"])
def test_unknown_driver_is_not_found(http: httpx.Client, refused: Refused, action: str) -> None:
    refused(http.post(f"/v1/drivers/unheard/{action}", json={}), 404)


@pytest.mark.parametrize(
    ("action", "body", "pointer"),
    [
        ("sync", {"full": 1}, "/full"),
        ("sync", {"deep": True}, "/deep"),
        ("detach", {"now": True}, "/now"),
        ("retire", {"source": "unheard"}, "/source"),
        ("join", {"empty": 1}, "/empty"),
    ],
)
def test_unknown_wish_is_refused(
    http: httpx.Client, refused: Refused, action: str, body: dict[str, Any], pointer: str
) -> None:
    refused(http.post(f"/v1/drivers/sqlite/{action}", json=body), 422, pointer)


def test_limits_are_the_ones_that_hold(http: httpx.Client) -> None:
    limits = http.get("/v1/limits").json()
    assert limits["request"]["body_bytes"] == 8 << 20
    assert limits["request"]["memories"] == 1000
    assert (limits["key"]["characters"], limits["key"]["value_bytes"]) == (256, 64 << 10)
    assert limits["memory"]["text_bytes"] == 64 << 10
    assert limits["search"]["top_k"] == 200
    assert limits["waiting"]["memories"] == 2_000_000
    assert limits["memories_per_second"] is None


def test_usage_is_of_what_waits(http: httpx.Client, remember: Remember) -> None:
    remember([{"text": "soon stored"}])
    usage = http.get("/v1/usage").json()
    assert usage["namespace"] == "default"
    assert usage["waiting"]["memories"] >= 0
    assert usage["dead_letters"] == 0
