"""Keys while a store is down or nothing is stored: reads fall back, conditions look at nothing old."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from memrelay import Memrelay, errors
from memrelay.client import Source
from tests.rig import Rig, wait_until

KEYS = "/v1/sources/_/keys"
ALONE = {"MEMRELAY_SOURCES": json.dumps({"default": {"drivers": ["redis"]}})}


@pytest.fixture
def keys(rig: Rig) -> Iterator[Source]:
    with Memrelay(rig.service.url, patience=0.0) as relay:
        yield relay.source()


def test_replica_serves_keys_while_the_primary_is_down(rig: Rig, keys: Source) -> None:
    keys.store_many({f"user:{n}": {"n": n} for n in range(5)})
    wait_until("the replica to have all", lambda: _stored_everywhere(rig), 60)
    rig.stores["redis"].kill()
    assert keys.retrieve("user:3") == {"n": 3}
    assert keys.list_keys("user:*") == [f"user:{n}" for n in range(5)]
    assert keys.count("user:*") == keys.count() == 5
    assert len(keys.search({"query": "n 3"}, limit=5)) == 5
    keys.delete("user:3")
    keys.delete("user:4")
    assert keys.list_keys() == ["user:0", "user:1", "user:2"]
    assert keys.retrieve_many(["user:2", "user:3"]) == {"user:2": {"n": 2}}
    held = keys.entry("user:0")
    stored = keys.store("user:0", "changed", if_match=held.version, wait=0.5)
    assert not stored.stored, "the primary is down"
    wait_until("the replica to have it", lambda: keys.retrieve("user:0") == "changed", 60)
    with pytest.raises(errors.Conflict):
        keys.store("user:0", "lost", if_match=held.version, wait=0.5)
    keys.store("user:0", "again", if_match=stored.version, wait=0.5)
    wait_until("the replica to have that", lambda: keys.retrieve("user:0") == "again", 60)
    with pytest.raises(errors.Conflict):
        keys.store("user:0", "lost", overwrite=False, wait=0.5)


def test_condition_is_not_judged_by_what_is_older_than_the_last_write(
    rig: Rig, keys: Source
) -> None:
    first = keys.store("k", 1)
    rig.service.stop_worker()
    second = keys.store("k", 2, wait=0)
    began = time.monotonic()
    with pytest.raises(errors.ServiceUnavailable) as raised:
        keys.store("k", 3, if_match=first.version)
    assert raised.value.code == "not_stored_yet"
    assert time.monotonic() - began < 30
    new = keys.store("new", 1, wait=0)
    with pytest.raises(errors.ServiceUnavailable):
        keys.store("new", 2, overwrite=False)
    keys.delete("k")
    assert not keys.exists("k")
    assert keys.list_keys() == []
    rig.service.start_worker()
    rig.wait_drained(60)
    assert keys.exists("new")
    with pytest.raises(errors.Conflict):
        keys.store("k", 3, if_match=second.version)
    assert keys.store("new", 2, if_match=new.version, wait=60).stored
    assert keys.store("k", 4, overwrite=False, wait=60).stored


def test_condition_is_judged_by_a_driver_that_was_filled_since_the_last_write(
    make_rig: Callable[..., Rig],
) -> None:
    """No job of what was written before names it; it serves, so it was filled with that."""
    rig = make_rig(env=ALONE).start()
    with Memrelay(rig.service.url, patience=0.0) as relay:
        keys = relay.source()
        first = keys.store("k", 1)
        relay.join_driver("replica")
        wait_until("it to be filled", lambda: _serves(relay, "replica"), 120)
        relay.retire_driver("redis")
        wait_until("it to be read", lambda: _reads(rig, "replica"), 60)
        with pytest.raises(errors.Conflict):
            keys.store("k", 2, overwrite=False)
        assert keys.store("k", 2, if_match=first.version, wait=60).stored


def test_all_stores_down_is_said_and_not_taken_for_no_keys(rig: Rig, keys: Source) -> None:
    keys.store("k", 1)
    for store in rig.stores.values():
        store.kill()
    with httpx.Client(base_url=rig.service.url, timeout=30) as http:
        for answer in (
            http.get(f"{KEYS}/k"),
            http.get(KEYS),
            http.post("/v1/sources/_/count", json={}),
            http.post("/v1/sources/_/search", json={"query": "k"}),
            http.post("/v1/sources/_/batch", json={"retrieve": ["k"]}),
            http.put(f"{KEYS}/k", json={"value": 2, "overwrite": False}),
        ):
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"]
        assert http.get("/v1/sources").status_code == 200


def _stored_everywhere(rig: Rig) -> bool:
    drivers = httpx.get(f"{rig.service.url}/v1/drivers").json()["drivers"]
    return all(driver["backlog"] == 0 for driver in drivers)


def _serves(relay: Memrelay, driver: str) -> bool:
    rows = relay.drivers().drivers
    return any(
        row.name == driver and row.members["default"].state == "whole"
        for row in rows
        if "default" in row.members
    )


def _reads(rig: Rig, driver: str) -> bool:
    answer = httpx.post(f"{rig.service.url}/v1/search", json={"query": "k"})
    served: list[str] = answer.json()["served_by"]
    return served == [driver]
