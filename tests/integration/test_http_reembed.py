"""A running service whose source is embedded by another model: every answer is of one space, and complete."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import httpx
import pytest
import redis

from backends.journal.journal import PREFIX
from deploy.native.server import wait_until_stopped
from memrelay import exits
from memrelay.embedded.apps import app_command
from tests.integration.test_remote_model import DIMENSIONS, Model
from tests.oracle import LOCAL_SPACE, SOUND, judge, scope_of
from tests.rig import MODEL, Load, Rig, memory, remote_space, wait_until
from tests.service import Service

COUNT = 1000
PAUSE_SECONDS = 0.05
"""Between two questions of a client, so that the worker has a core of a busy machine."""
NEW = scope_of(remote_space({"dimensions": DIMENSIONS}))
OLD = scope_of(LOCAL_SPACE)


@pytest.fixture
def model() -> Iterator[Model]:
    with Model(DIMENSIONS) as model:
        yield model


@pytest.fixture
def rig(make_rig: Callable[..., Rig], model: Model) -> Rig:
    """Two stores, everything by the local model; the remote one is configured as well."""
    options = {MODEL: {"api_base": model.url, "api_key": "none", "dimensions": DIMENSIONS}}
    rig = make_rig(env={"MEMRELAY_MODELS": json.dumps(options)}).start()
    writer = rig.writer()
    for first in range(0, COUNT, 500):
        writer.put([memory(f"t{n}", text(n)) for n in range(first, first + 500)], lane="bulk")
    rig.wait_drained(180)
    return rig


def text(number: int) -> str:
    return f"the text of number {number} and nothing else"


class Asking:
    """One client of one API that asks for memories by their own texts; what was wrong with the answers."""

    def __init__(self, service: Service) -> None:
        self.wrong: list[str] = []
        self.spaces: list[int] = []
        """The dimensions of each answer's vectors, where they are another than before."""
        self.answers = 0
        self.cut_off = 0
        """Requests without an answer: an API that wakes up ends connections that were idle for too long."""
        self._http = httpx.Client(base_url=service.url, timeout=600)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._http.close()

    def _run(self) -> None:
        chance = random.Random(1)
        while not self._stopped.is_set():
            self._ask(chance.randrange(COUNT))
            time.sleep(PAUSE_SECONDS)

    def _ask(self, number: int) -> None:
        body = {"query": text(number), "top_k": 50, "mode": "semantic", "include": ["vector"]}
        try:
            answer = self._http.post("/v1/search", json=body)
        except (httpx.RemoteProtocolError, httpx.NetworkError):
            self.cut_off += 1
            return
        self.answers += 1
        if answer.status_code == 503 and answer.json()["code"] == "embedding_timeout":
            return  # a process that takes up a remote model loads LiteLLM: seconds on a busy machine
        if answer.status_code != 200:
            self.wrong.append(answer.text)
            return
        hits = answer.json()["hits"]
        lengths = {len(hit["vector"]) for hit in hits}
        same = [hit["id"] for hit in hits if hit["score"] > 0.99]
        if len(lengths) != 1 or f"t{number}" not in same:
            self.wrong.append(f"{number}: {lengths} {same}")
        if self.spaces[-1:] != [*lengths]:
            self.spaces += lengths


def reembed(rig: Rig, *more: str, model: str = MODEL) -> subprocess.Popen[str]:
    return subprocess.Popen(
        app_command("backends.reembedding", [model, "default", *more]),
        env=rig.service.env,
        stdout=subprocess.PIPE,
        text=True,
    )


def is_building(rig: Rig) -> bool:
    with redis.Redis.from_url(rig.journal.url) as journal:
        return journal.hget(f"{PREFIX}spaces:default", "building") is not None


def ended(process: subprocess.Popen[str], seconds: float = 600) -> tuple[int, dict[str, Any]]:
    out, _ = process.communicate(timeout=seconds)
    return process.returncode, json.loads(out.splitlines()[-1]) if out else {}


def test_searches_are_of_one_space_and_complete_all_the_while(rig: Rig) -> None:
    """Of an API, too, that is frozen while the source moves; and the old space is dropped at last."""
    other = rig.another()
    other.start_api()
    with Asking(rig.service) as one, Asking(other) as two, Load(rig, seed=41, writers=2, ids=200):
        wait_until("some answers", lambda: two.answers > 5, 60)
        process = reembed(rig)
        wait_until("it to begin", lambda: is_building(rig), 120)
        assert other._api is not None
        os.kill(other._api.pid, signal.SIGSTOP)
        wait_until_stopped([other._api.pid])
        status, told = ended(process)
        wait_until("the first to have moved", lambda: one.spaces == [256, DIMENSIONS], 120)
        os.kill(other._api.pid, signal.SIGCONT)
        wait_until("the other to have moved", lambda: two.spaces == [256, DIMENSIONS], 120)
        time.sleep(1)
    assert (status, told["result"]["dimensions"]) == (exits.OK, DIMENSIONS)
    assert (one.wrong, one.cut_off) == ([], 0)
    assert all('"status":503' in answer for answer in two.wrong), two.wrong
    assert len(two.wrong) + two.cut_off <= 1, "but for what it was at when it was frozen"
    rig.wait_drained(180)
    for store in rig.stores:
        assert judge(rig.ledger, rig.settings(store), NEW) == SOUND, store

    def is_dropped() -> bool:
        return all(len(judge(rig.ledger, rig.settings(s), OLD).lost) > 0 for s in rig.stores)

    wait_until("the old space to be dropped", is_dropped, 180)


def test_worker_that_is_killed_meanwhile_leaves_it_to_the_next(rig: Rig) -> None:
    with Load(rig, seed=42, writers=2, ids=200):
        process = reembed(rig)
        for _ in range(2):
            time.sleep(1)
            rig.service.kill_worker()
            rig.service.start_worker()
        assert ended(process)[0] == exits.OK
    rig.wait_drained(180)
    for store in rig.stores:
        assert judge(rig.ledger, rig.settings(store), NEW) == SOUND, store


def test_service_that_starts_with_the_settings_of_before_goes_on_in_the_new_space(
    rig: Rig,
) -> None:
    assert ended(reembed(rig))[0] == exits.OK
    rig.service.stop()
    rig.service.start()
    assert f"was embedded anew by {MODEL}" in rig.service.api_log.read_text()
    with Asking(rig.service) as it:
        wait_until("some answers", lambda: it.answers > 20 and bool(it.spaces), 180)
    assert (it.wrong, it.spaces) == ([], [DIMENSIONS])
    source = {"drivers": list(rig.stores), "embedding": MODEL}
    rig.service.stop()
    rig.service.env["MEMRELAY_SOURCES"] = json.dumps({"default": source})
    rig.service.start()
    with Asking(rig.service) as it:
        wait_until("some answers", lambda: it.answers > 20 and bool(it.spaces), 180)
    assert (it.wrong, it.spaces) == ([], [DIMENSIONS])


def test_what_is_built_is_given_up_and_dropped(rig: Rig, model: Model) -> None:
    model.behave(fault="unavailable")
    process = reembed(rig)
    wait_until("it to begin", lambda: is_building(rig), 120)
    assert ended(reembed(rig, "--cancel", model="")) == (
        exits.OK,
        {"result": {"source": "default", "canceled": True}},
    )
    assert ended(process)[0] == exits.FAILED
    model.behave(fault=None)
    with Asking(rig.service) as it:
        wait_until("some answers", lambda: it.answers > 20 and bool(it.spaces), 180)
    assert (it.wrong, it.spaces) == ([], [256])
    rig.writer().put([memory("late", "after it was given up")])
    rig.wait_drained(180)
    for store in rig.stores:
        assert judge(rig.ledger, rig.settings(store), OLD) == SOUND, store


def test_store_that_cannot_compare_versions_itself_is_embedded_anew_too(
    make_rig: Callable[..., Rig],
    model: Model,
    redis_server_factory: Callable[..., Any],
    weaviate_server_factory: Callable[[], Any],
) -> None:
    options = {MODEL: {"api_base": model.url, "api_key": "none", "dimensions": DIMENSIONS}}
    stores = {"redis": redis_server_factory(), "replica": weaviate_server_factory()}
    rig = make_rig(stores=stores, env={"MEMRELAY_MODELS": json.dumps(options)}).start()
    rig.writer().put([memory(f"t{n}", text(n)) for n in range(400)])
    rig.wait_drained(180)
    with Load(rig, seed=43, writers=1, ids=100):
        assert ended(reembed(rig))[0] == exits.OK
    rig.wait_drained(180)
    for store in rig.stores:
        assert judge(rig.ledger, rig.settings(store), NEW) == SOUND, store
