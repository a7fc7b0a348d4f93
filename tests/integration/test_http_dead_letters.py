"""Dead letters over HTTP: why memories were given up, replayed and given up for good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from memrelay import exits
from memrelay.cli.app import run
from tests.integration.conftest import Refused
from tests.integration.test_remote_model import DIMENSIONS, Model
from tests.rig import Rig, memory, redis_servers, wait_until

POISON = "what the model refuses"
LIMIT = 6


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(DIMENSIONS) as model:
        yield model


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Iterator[Rig]:
    """One for all tests: importing LiteLLM takes long."""
    directory = tmp_path_factory.mktemp("dead-letters")
    options = {"api_base": model.url, "api_key": "secret", "dimensions": DIMENSIONS}
    with redis_servers(directory) as start:
        env = {"MEMRELAY_DEAD_LETTER_LIMIT": str(LIMIT)}
        rig = Rig(directory, start, model=options, env=env)
        try:
            rig.start().writer().put([memory("warm", "the worker is ready")])
            rig.wait_drained(180)
            yield rig
        finally:
            rig.close()


@pytest.fixture
def http(rig: Rig, model: Model) -> Iterator[httpx.Client]:
    """The model refuses poison; all is well again after the test, and no dead letter is left."""
    model.behave(poison=POISON)
    with httpx.Client(base_url=rig.service.url, timeout=90) as client:
        assert stored(client, [f"enough that is taken {uuid4().hex}" for _ in range(10)])
        yield client
        model.behave(poison=None)
        client.post("/v1/dead-letters/resume", json={})
        rig.wait_drained(180)
        client.post("/v1/dead-letters/delete", json={"all": True})


def add(http: httpx.Client, texts: list[str], *, user: str = "u") -> dict[str, Any]:
    body = {"memories": [{"text": text, "user_id": user} for text in texts]}
    answer = http.post("/v1/memories", json=body)
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


def ended(http: httpx.Client, id: str) -> dict[str, Any]:
    job: dict[str, Any] = http.get(f"/v1/jobs/{id}", params={"wait": 60}).json()
    assert job["status"] in ("stored", "partial", "failed"), job
    return job


def stored(http: httpx.Client, texts: list[str]) -> bool:
    return bool(ended(http, add(http, texts)["job"]["id"])["status"] == "stored")


def poison(number: int) -> str:
    return f"{POISON} {number} {uuid4().hex}"


def died(http: httpx.Client, count: int) -> dict[str, Any]:
    """So many memories that are dead letters on return; the answer that had accepted them."""
    answer = add(http, [poison(n) for n in range(count)])
    assert ended(http, answer["job"]["id"])["status"] == "failed"
    return answer


def listed(http: httpx.Client, **params: Any) -> dict[str, Any]:
    answer = http.get("/v1/dead-letters", params=params)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def test_dead_letter_says_what_died_of_what(http: httpx.Client) -> None:
    answer = died(http, 1)
    job = ended(http, answer["job"]["id"])
    page = listed(http)
    [letter] = page["dead_letters"]
    assert page["causes"] == {letter["code"]: 1}
    assert {letter["code"]} == {error["code"] for error in job["errors"]}
    assert page["alarms"] == {}
    assert page["cursor"] is None
    assert [{"id": letter["id"], "version": letter["version"]}] == answer["memories"]
    assert (letter["source"], letter["stage"]) == ("default", "embed")
    assert letter["drivers"] == ["redis", "replica"]
    assert letter["attempts"] >= 1
    assert letter["memory"]["text"].startswith(POISON)
    assert letter["memory"]["user_id"] == "u"
    assert letter["died_at"].endswith("Z")


def test_list_is_filtered_and_comes_in_pages(http: httpx.Client) -> None:
    answer = died(http, 3)
    versions = [memory["version"] for memory in answer["memories"]]
    seen, cursor = [], None
    while True:
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = listed(http, **params)
        seen += [letter["version"] for letter in page["dead_letters"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == sorted(versions, reverse=True)
    [code] = page["causes"]
    assert len(listed(http, code=code, driver="redis", source="default")["dead_letters"]) == 3
    for other in ({"code": "other"}, {"driver": "other"}, {"source": "other"}):
        assert listed(http, **other)["dead_letters"] == []


def test_replay_stores_what_died_under_its_own_version(http: httpx.Client, model: Model) -> None:
    answer = died(http, 2)
    model.behave(poison=None)
    replayed = http.post("/v1/dead-letters/replay", json={"all": True})
    assert replayed.status_code == 202
    assert (replayed.json()["replayed"], replayed.json()["more"]) == (2, False)
    [job] = replayed.json()["jobs"]
    assert job["total"] == 2
    assert ended(http, job["id"])["status"] == "stored"
    assert ended(http, answer["job"]["id"])["status"] == "stored"
    for told in answer["memories"]:
        assert http.get(f"/v1/memories/{told['id']}").json()["version"] == told["version"]
    assert listed(http)["causes"] == {}
    again = http.post("/v1/dead-letters/replay", json={"all": True})
    assert again.json() == {"replayed": 0, "jobs": [], "more": False}


def test_only_what_was_selected_is_replayed_or_deleted(http: httpx.Client, model: Model) -> None:
    ids = [memory["id"] for memory in died(http, 3)["memories"]]
    model.behave(poison=None)
    replayed = http.post("/v1/dead-letters/replay", json={"ids": [ids[0]], "driver": "redis"})
    ended(http, replayed.json()["jobs"][0]["id"])
    deleted = http.post("/v1/dead-letters/delete", json={"ids": [ids[1]], "source": "default"})
    assert (deleted.status_code, deleted.json()) == (200, {"deleted": 1, "more": False})
    assert [letter["id"] for letter in listed(http)["dead_letters"]] == [ids[2]]
    statuses = [http.get(f"/v1/memories/{id}").status_code for id in ids]
    assert statuses == [200, 404, 404]
    early = {"before": "2020-01-01T00:00:00Z"}
    assert http.post("/v1/dead-letters/delete", json=early).json()["deleted"] == 0
    late = {"after": "2020-01-01T00:00:00Z"}
    assert http.post("/v1/dead-letters/delete", json=late).json()["deleted"] == 1


def test_what_dies_again_of_a_replay_is_there_again_once(http: httpx.Client) -> None:
    died(http, 2)
    replayed = http.post("/v1/dead-letters/replay", json={"all": True}).json()
    assert replayed["replayed"] == 2
    assert ended(http, replayed["jobs"][0]["id"])["status"] == "failed"
    assert sum(listed(http)["causes"].values()) == 2


def test_alarm_holds_the_rest_back_until_it_is_ended(
    rig: Rig, http: httpx.Client, model: Model
) -> None:
    model.behave(latency=0)
    answer = add(http, [poison(n) for n in range(95)] + [f"taken {uuid4().hex}"])
    wait_until("the alarm", lambda: "embed:default" in listed(http)["alarms"], 120)
    assert sum(listed(http)["causes"].values()) < 95
    model.behave(poison=None)
    resumed = http.post("/v1/dead-letters/resume", json={"stage": "embed:default"})
    assert (resumed.status_code, resumed.json()) == (200, {"resumed": ["embed:default"]})
    assert listed(http)["alarms"] == {}
    assert http.post("/v1/dead-letters/resume").json() == {"resumed": []}
    rig.wait_drained(180)
    http.post("/v1/dead-letters/replay", json={"all": True})
    rig.wait_drained(180)
    assert ended(http, answer["job"]["id"])["status"] == "stored"


def test_usage_counts_dead_letters(http: httpx.Client) -> None:
    died(http, 2)
    assert http.get("/v1/usage").json()["dead_letters"] == 2


@pytest.mark.parametrize("path", ["replay", "delete"])
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/all"),
        ({"all": False}, "/all"),
        ({"all": True, "code": "x"}, "/all"),
        ({"all": 1}, "/all"),
        ({"ids": []}, "/ids"),
        ({"driver": "NO"}, "/driver"),
        ({"before": "yesterday"}, "/before"),
        ({"code": ""}, "/code"),
        ({"stage": "embed"}, "/stage"),
    ],
)
def test_selection_that_is_unclear_is_refused(
    rig: Rig, refused: Refused, path: str, body: dict[str, Any], pointer: str
) -> None:
    url = f"{rig.service.url}/v1/dead-letters/{path}"
    refused(httpx.post(url, json=body, timeout=30), 422, pointer)


@pytest.mark.parametrize(
    ("params", "pointer"),
    [({"limit": 0}, "/limit"), ({"limit": 101}, "/limit"), ({"cursor": "x"}, "/cursor")],
)
def test_page_that_cannot_be_is_refused(
    rig: Rig, refused: Refused, params: dict[str, Any], pointer: str
) -> None:
    url = f"{rig.service.url}/v1/dead-letters"
    refused(httpx.get(url, params=params, timeout=30), 422, pointer)


def test_command_line_lists_and_replays_them(
    http: httpx.Client,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = died(http, 2)
    monkeypatch.setenv("MEMRELAY_URL", str(http.base_url))
    capsys.readouterr()
    assert run(["dlq", "ls"]) == exits.OK
    shown = capsys.readouterr()
    assert [line.split("\t")[0] for line in shown.out.splitlines()] == [
        memory["id"] for memory in reversed(answer["memories"])
    ]
    model.behave(poison=None)
    assert run(["dlq", "replay", "--all"]) == exits.OK
    assert capsys.readouterr().out == "2 on their road again\n"
    wait_until(
        "the job to say stored",
        lambda: http.get(f"/v1/jobs/{answer['job']['id']}").json()["status"] == "stored",
        120,
    )
