"""``memrelay bench`` against a running memrelay."""

from __future__ import annotations

import json

import httpx
import pytest

from memrelay import exits
from memrelay.cli.app import run
from tests.rig import wait_until
from tests.service import Service


def _waiting(http: httpx.Client) -> int:
    """Memories that tests before this one have not waited for."""
    number: int = http.get("/v1/usage").json()["waiting"]["memories"]
    return number


def test_bench_measures_and_leaves_nothing_behind(
    service: Service, http: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_until("nothing to be in flight", lambda: _waiting(http) == 0, 120)
    before = http.post("/v1/memories/count", json={}).json()["count"]
    few = ["--memories", "250", "--searches", "10", "--url", service.url]
    assert run(["bench", *few, "--json"]) == exits.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["memories"], told["failed"], told["removed"]) == (250, 0, True)
    assert told["accepted_per_second"] >= told["stored_per_second"] > 0
    for kind in ("accept", "searchable", "search"):
        assert 0 < told[kind]["p50"] <= told[kind]["p95"]
    assert http.post("/v1/memories/count", json={}).json()["count"] == before
    assert run(["bench", *few]) == exits.OK
    assert "time to searchable\t" in capsys.readouterr().out
