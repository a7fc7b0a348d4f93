"""``drivers``, ``sync``, ``dlq`` and ``rm`` by user, against a running memrelay."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from memrelay import exits
from memrelay.cli.app import run
from tests.integration.conftest import Remember
from tests.service import Service


@pytest.fixture(autouse=True)
def url(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMRELAY_URL", service.url)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = run([*arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_drivers_shows_who_serves_and_how_far_behind_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, answer = shown(capsys, "drivers")
    assert status == exits.OK
    assert {row["name"]: row["state"] for row in answer["drivers"]} == {
        "redis": "serving",
        "sqlite": "serving",
    }
    assert run(["drivers"]) == exits.OK
    assert capsys.readouterr().out.startswith("redis\tserving\tclosed\t")


def test_sync_repairs_what_was_damaged_and_counts_it(
    service: Service, remember: Remember, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import apsw

    ids = [f"{user}-{number}" for number in range(5)]
    remember([{"id": id, "text": f"of {id}", "user_id": user} for id in ids])
    file = apsw.Connection(str(service.directory / "replica.db"))
    file.execute("DELETE FROM memories WHERE id IN (?, ?)", (ids[0], ids[3]))
    file.close()
    status, answer = shown(capsys, "sync", "sqlite")
    assert status == exits.OK
    peers = answer["sync"]["report"]["default"]["peers"]
    assert (peers["sqlite"]["missing"], peers["sqlite"]["repaired"]) == (2, 2)
    assert peers["redis"]["missing"] == 0
    found = httpx.post(
        f"{service.url}/v1/search",
        json={"query": "of", "user_id": user, "drivers": ["sqlite"], "mode": "semantic"},
    ).json()
    assert sorted(hit["id"] for hit in found["hits"]) == ids


def test_sync_of_a_driver_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sync", "nobody"]) == exits.FAILED
    assert capsys.readouterr().err.count("\n") == 1


def test_rm_by_user_deletes_all_of_theirs(
    remember: Remember, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    remember([{"text": f"{number}", "user_id": user} for number in range(3)])
    assert run(["rm", "--user", user, "--wait"]) == exits.OK
    status, answer = shown(capsys, "count", "--user", user)
    assert (status, answer["count"]) == (exits.OK, 0)


@pytest.mark.parametrize("arguments", [["rm"], ["rm", "id", "--user", "u"], ["dlq", "rm"]])
def test_nothing_is_deleted_by_leaving_something_out(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == exits.USAGE
    assert capsys.readouterr().err.count("\n") == 1


def test_dlq_commands_speak_of_nothing_when_there_is_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert shown(capsys, "dlq", "ls", "--code", "unheard_of")[1]["dead_letters"] == []
    assert shown(capsys, "dlq", "replay", "--code", "unheard_of")[1]["replayed"] == 0
    assert shown(capsys, "dlq", "rm", "--code", "unheard_of")[1]["deleted"] == 0
    assert shown(capsys, "dlq", "resume")[1]["resumed"] == []
