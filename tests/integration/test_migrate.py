"""Migrate: a driver takes another's place in a running service, and both have one digest at the end."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from memrelay import exits
from memrelay.cli.app import run
from memrelay.embedded.apps import app_command, app_environment
from tests.oracle import SOUND, judge
from tests.rig import Load, Rig, SqliteFile, memory, wait_until
from tests.service import Service

ALONE = {"MEMRELAY_SOURCES": json.dumps({"default": {"drivers": ["redis"]}})}
COUNT = 6000


class Followed:
    """One process of ``migrate``; what it has told so far."""

    def __init__(self, service: Service, *arguments: str) -> None:
        self._process = subprocess.Popen(
            app_command("backends.migration", [*arguments]),
            env=app_environment() | service.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.told += map(json.loads, self._process.stdout)

    def kill(self) -> None:
        self._process.kill()
        self.wait(60)

    def wait(self, seconds: float) -> int:
        status = self._process.wait(seconds)
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = self.told[-1]["result"]
        return result


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """Source ``default`` has only ``redis``; ``replica`` is configured, and no source names it."""
    rig = make_rig(env=ALONE).start()
    writer = rig.writer()
    for first in range(0, COUNT, 500):
        memories = [
            memory(f"m{n}", f"the text of memory {n}") | {"user_id": f"u{n % 5}"}
            for n in range(first, first + 500)
        ]
        writer.put(memories, lane="bulk")
    rig.wait_drained(180)
    return rig


@contextmanager
def followed(rig: Rig, *arguments: str) -> Iterator[Followed]:
    it = Followed(rig.service, "redis", "replica", "default", *arguments)
    try:
        yield it
    finally:
        it.kill()


def member(rig: Rig, driver: str) -> dict[str, Any]:
    rows = httpx.get(f"{rig.service.url}/v1/drivers", timeout=60).json()["drivers"]
    found: dict[str, Any] = next(row for row in rows if row["name"] == driver)["members"]
    return found.get("default", {"state": "no member", "sync": None})


def has_begun(rig: Rig) -> bool:
    return member(rig, "replica")["state"] == "syncing"


def search(rig: Rig) -> dict[str, Any]:
    body = {"query": "the text of memory 17", "top_k": 5}
    answer = httpx.post(f"{rig.service.url}/v1/search", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def assert_sound(rig: Rig, *stores: str) -> None:
    rig.wait_drained(180)
    for store in stores:
        assert judge(rig.ledger, rig.settings(store), rig.scope) == SOUND, store


def test_migration_under_load_ends_with_equal_digests_and_the_new_driver_is_read(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in rig.env().items():
        monkeypatch.setenv(name, value)
    assert search(rig)["served_by"] == ["redis"]
    with Load(rig, seed=21, writers=2, ids=300):
        deleter = threading.Thread(target=delete_by_filter, args=(rig,))
        deleter.start()
        command = ["migrate", "--from", "redis", "--to", "replica", "--retire", "--json"]
        status = run(command)
        assert search(rig)["served_by"] == ["replica"]
        deleter.join()
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert status == exits.OK, err
    assert (result["equal"], result["retired"], result["differing"]) == (True, True, [])
    left, right = result["drivers"].values()
    assert left == right
    assert left["live"] > 0
    assert "compare:" in err
    assert member(rig, "redis")["state"] == "retired"
    assert_sound(rig, "replica")


def delete_by_filter(rig: Rig) -> None:
    writer = rig.writer()
    for number in range(3):
        writer.delete_where("user_id", f"u{number}")
        time.sleep(0.4)


def test_worker_that_is_killed_in_the_middle_leaves_it_to_the_next(rig: Rig) -> None:
    with Load(rig, seed=22, writers=2, ids=300), followed(rig) as it:
        for _ in range(2):
            wait_until("it to begin", lambda: member(rig, "replica")["sync"] is not None, 120)
            rig.service.kill_worker()
            time.sleep(0.5)
            rig.service.start_worker()
        assert it.wait(300) == exits.OK
    assert it.result["equal"]
    assert_sound(rig, "redis", "replica")


def test_command_that_is_killed_goes_on_when_it_is_run_again(rig: Rig) -> None:
    with followed(rig) as it:
        wait_until("it to be followed", lambda: bool(it.told) or has_begun(rig), 120)
        it.kill()
    with followed(rig) as it:
        assert it.wait(300) == exits.OK
    assert it.result["drivers"]["replica"]["live"] == COUNT
    with followed(rig) as it:
        assert it.wait(300) == exits.OK, "and once more, when all is done"


def test_new_store_that_is_down_for_a_while_is_filled_when_it_is_back(rig: Rig) -> None:
    with Load(rig, seed=23, writers=2, ids=300), followed(rig) as it:
        wait_until("it to begin", lambda: has_begun(rig), 120)
        rig.kill("replica")
        time.sleep(4)
        assert search(rig)["served_by"] == ["redis"]
        rig.revive("replica")
        assert it.wait(300) == exits.OK
    assert it.result["equal"]
    assert_sound(rig, "redis", "replica")


def test_two_migrations_at_once_are_one(rig: Rig) -> None:
    with followed(rig) as one, followed(rig) as other:
        assert (one.wait(300), other.wait(300)) == (exits.OK, exits.OK)
    assert one.result["drivers"] == other.result["drivers"]


def test_api_with_settings_without_the_new_driver_takes_in_for_it_too(rig: Rig) -> None:
    """Nor does it read from one that is retired."""
    old = rig.another(MEMRELAY_DRIVERS=json.dumps({"redis": rig.settings("redis")}))
    old.start_api()
    with followed(rig, "--retire") as it:
        wait_until("it to begin", lambda: has_begun(rig), 120)
        rig.writer(old).put([memory("m17", "another text of memory 17")])
        httpx.post(
            f"{old.url}/v1/memories",
            json={"memories": [{"id": "by the old", "text": "of the old API"}]},
            timeout=60,
        ).raise_for_status()
        assert it.wait(300) == exits.OK
    httpx.post(
        f"{old.url}/v1/memories",
        json={"memories": [{"id": "late", "text": "of the old API, after it all"}]},
        timeout=60,
    ).raise_for_status()
    rig.wait_drained(180)
    body = {"query": "the old API", "top_k": 5}
    assert httpx.post(f"{old.url}/v1/search", json=body, timeout=60).status_code == 503
    ids = {h["id"] for h in httpx.post(f"{rig.service.url}/v1/search", json=body).json()["hits"]}
    assert {"by the old", "late"} <= ids


def test_difference_is_found_and_the_old_driver_is_not_retired(
    make_rig: Callable[..., Rig], tmp_path: Path, redis_server_factory: Callable[..., Any]
) -> None:
    import apsw

    file = SqliteFile(tmp_path / "replica.db")
    rig = make_rig(stores={"redis": redis_server_factory(), "replica": file}, env=ALONE).start()
    rig.writer().put([memory(f"m{n}", f"the text of memory {n}") for n in range(300)])
    rig.wait_drained(180)
    with followed(rig) as it:
        assert it.wait(300) == exits.OK
    connection = apsw.Connection(str(file.path))
    connection.set_busy_timeout(5000)
    connection.execute("DELETE FROM memories WHERE id = 'm7'")
    connection.close()
    with followed(rig, "--retire") as it:
        assert it.wait(300) == exits.FAILED
    assert (it.result["equal"], it.result["differing"], it.result["retired"]) == (
        False,
        ["m7"],
        False,
    )
    assert member(rig, "redis")["state"] == "whole"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["redis", "nobody", "default"], "drivers.nobody"),
        (["redis", "replica", "nowhere"], "no source nowhere"),
        (["replica", "redis", "default"], "replica has not everything"),
        (["redis", "redis", "default"], "its own place"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    rig_env: dict[str, str], arguments: list[str], word: str
) -> None:
    done = subprocess.run(
        app_command("backends.migration", arguments),
        env=app_environment() | rig_env,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == exits.FAILED
    assert word in done.stderr.splitlines()[-1]


@pytest.fixture
def rig_env(make_rig: Callable[..., Rig]) -> dict[str, str]:
    """Of a service that is not started: nothing of it is needed for an error."""
    return make_rig(env=ALONE).env()
