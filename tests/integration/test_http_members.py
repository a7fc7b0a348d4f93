"""Drivers that join a source and leave it, in a service under load, with APIs of old and new settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from memrelay import exits
from memrelay.cli.app import run
from tests.integration.conftest import Refused
from tests.oracle import SOUND, judge
from tests.rig import Load, Rig, memory, wait_until
from tests.service import Service

ALONE = {"MEMRELAY_SOURCES": json.dumps({"default": {"drivers": ["redis"]}})}


def members(service: Service) -> dict[str, str]:
    """The state of each driver in the source ``default``."""
    rows = httpx.get(f"{service.url}/v1/drivers", timeout=60).json()["drivers"]
    return {
        row["name"]: row["members"]["default"]["state"]
        for row in rows
        if "default" in row["members"]
    }


def search(service: Service, **body: Any) -> httpx.Response:
    asked = {"query": "the text of some memory", "top_k": 5, **body}
    return httpx.post(f"{service.url}/v1/search", json=asked, timeout=60)


def test_driver_that_settings_add_is_filled_under_load_while_an_old_api_goes_on(
    make_rig: Callable[..., Rig],
) -> None:
    """The rolling restart: the API and worker of old settings take in and work beside the new ones."""
    rig = make_rig(env=ALONE).start()
    old = rig.service
    rig.writer().put([memory(f"before{n}", f"accepted before, number {n}") for n in range(500)])
    assert members(old) == {"redis": "whole"}
    new = rig.another(MEMRELAY_SOURCES=json.dumps({"default": {"drivers": ["replica", "redis"]}}))
    with Load(rig, seed=11, writers=2, ids=100):
        new.start()
        answers = [search(service) for service in (old, new) for _ in range(20)]
        assert {a.status_code for a in answers} == {200}
        wait_until("it to be filled", lambda: members(new)["replica"] == "whole", 180)
        wait_until(
            "the new API to read it", lambda: search(new).json()["served_by"] == ["replica"], 60
        )
    old.stop()
    rig.wait_drained(180)
    for store in ("redis", "replica"):
        assert judge(rig.ledger, rig.settings(store), rig.scope) == SOUND, store


def test_driver_is_retired_under_load_and_taken_out_of_the_settings(
    make_rig: Callable[..., Rig], refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig().start()
    monkeypatch.setenv("MEMRELAY_URL", rig.service.url)
    rig.writer().put([memory(f"m{n}", f"the text of memory {n}") for n in range(200)])
    assert search(rig.service).json()["served_by"] == ["redis"]
    with Load(rig, seed=12, writers=2, ids=100):
        assert run(["retire", "redis"]) == exits.OK
        assert search(rig.service).json()["served_by"] == ["replica"]
        refused(httpx.post(f"{rig.service.url}/v1/drivers/replica/retire"), 409)
    assert members(rig.service) == {"redis": "retired", "replica": "whole"}
    rig.kill("redis")
    rig.service.stop()
    left = {"drivers": {"replica": rig.settings("replica")}}
    rig.service.env["MEMRELAY_DRIVERS"] = json.dumps(left["drivers"])
    rig.service.env["MEMRELAY_SOURCES"] = json.dumps({"default": {"drivers": ["replica"]}})
    rig.service.start()
    rig.writer().put([memory("last", "the text of the last one")])
    rig.wait_drained(180)
    assert judge(rig.ledger, rig.settings("replica"), rig.scope) == SOUND
    assert search(rig.service).status_code == 200


def test_retired_driver_comes_back_filled(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMRELAY_URL", rig.service.url)
    writer = rig.writer()
    writer.put([memory(f"m{n}", f"the text of memory {n}") for n in range(300)])
    rig.wait_drained(180)
    assert run(["retire", "replica"]) == exits.OK
    writer.delete([f"m{n}" for n in range(100)])
    writer.put([memory(f"m{n}", f"another text of memory {n}") for n in range(50, 150)])
    assert run(["join", "replica"]) == exits.OK
    wait_until("it to be filled", lambda: members(rig.service)["replica"] == "whole", 180)
    rig.wait_drained(180)
    rig.assert_sound()
