"""Two tenants and every route there is: with the other's ids a route answers as with ids that nobody has, and
no answer, stream, page, tool, metric or log line holds a word of the other's.

``CASES`` has every route of the API's description and every page; one without a case fails the test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import httpx
import httpx2
import pytest
from mcp.client.streamable_http import streamable_http_client
from starlette.routing import Route

from api import dashboard
from api.app import described
from api.auth import COOKIE, is_page
from api.scopes import OPEN, Need, need_of
from tests.agents import Agent
from tests.house import HOME, House
from tests.loud import POISON, install_driver
from tests.rig import wait_until

SECONDS = 60
VICTIM, STRANGER = "victim", "stranger"
SAME_ID = {"X-Request-ID": "thesame"}
NOISE = re.compile(
    r"job_[0-9a-f]+_[0-9a-f]+|(?<=version\":)\d+|(?<=took_ms\":)[\d.]+|(?<=behind\":)\w+|\d{4}-\d\d-\d\dT[\d:.]+Z"
)
EVENTS = "event-stream"


@dataclass(frozen=True, slots=True)
class Words:
    """What a tenant has, by what it is called; each is a word that nobody else uses."""

    text: str
    value: str
    id: str
    key: str
    user: str
    tag: str
    request: str
    api_key: str
    job: str = ""
    dead: str = ""

    @classmethod
    def new(cls) -> Words:
        return cls(
            *(f"{name}{uuid4().hex}" for name in ("t", "v", "i", "k", "u", "g", "r")), "0f" * 8
        )

    @property
    def all(self) -> dict[str, str]:
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: word for name, word in found.items() if word}


type Sent = tuple[str, dict[str, Any]]
type Case = Callable[[Words], Sequence[Sent]]


def on(path: str, **sent: Any) -> Case:
    """One request; ``{name}`` stands for that word in the path and in whatever is sent."""

    def filled(value: Any, it: Words) -> Any:
        if isinstance(value, str):
            return re.sub(r"<(\w+)>", lambda found: getattr(it, found[1]), value)
        if isinstance(value, Mapping):
            return {filled(name, it): filled(one, it) for name, one in value.items()}
        if isinstance(value, list):
            return [filled(one, it) for one in value]
        return value

    return lambda it: [(filled(path, it), filled(sent, it))]


def each(*cases: Case) -> Case:
    return lambda it: [sent for case in cases for sent in case(it)]


def body(**fields: Any) -> dict[str, Any]:
    return {"json": fields}


NAMED = {"headers": {"Idempotency-Key": "<request>"}}
ALL = ["text", "metadata", "vector"]
KEYS = "/v1/sources/default/keys"
CASES: dict[str, Case] = {
    "POST /v1/memories": on(
        "/v1/memories", **body(memories=[{"id": "own", "text": "Bo likes tea."}]), **NAMED
    ),
    "GET /v1/memories/{id}": on("/v1/memories/<id>"),
    "PATCH /v1/memories/{id}": on("/v1/memories/<id>", **body(text="taken over")),
    "DELETE /v1/memories/{id}": on("/v1/memories/<id>"),
    "POST /v1/memories/delete": each(
        on("/v1/memories/delete", **body(ids=["<id>"])),
        on("/v1/memories/delete", **body(user_id="<user>")),
        on("/v1/memories/delete", **body(filter={"tags": "<tag>"})),
    ),
    "POST /v1/memories/purge": on("/v1/memories/purge", **body(confirm=STRANGER)),
    "POST /v1/memories/import": on(
        "/v1/memories/import",
        content='{"text": "own"}\n',
        headers={"Idempotency-Key": "<request>i", "Content-Type": "application/x-ndjson"},
    ),
    "POST /v1/memories/list": each(
        on("/v1/memories/list", **body(user_id="<user>")),
        on("/v1/memories/list", **body(filter={"tags": "<tag>"})),
        on("/v1/memories/list", **body()),
    ),
    "POST /v1/memories/count": on("/v1/memories/count", **body(user_id="<user>")),
    "POST /v1/search": each(
        *(
            on("/v1/search", **body(query="likes <text>", mode=mode, include=ALL, drivers=drivers))
            for mode, drivers in (
                ("semantic", ["redis"]),
                ("semantic", ["loud"]),
                ("keyword", ["loud"]),
                ("hybrid", ["redis", "loud"]),
            )
        ),
        on("/v1/search", **body(query="tea", user_id="<user>")),
        on("/v1/search", **body(query="tea", filter={"tags": "<tag>"})),
    ),
    "GET /v1/jobs/{id}": on("/v1/jobs/<job>"),
    "GET /v1/jobs/{id}/events": on("/v1/jobs/<job>/events"),
    "GET /v1/jobs": on("/v1/jobs", params={"limit": 100}),
    "POST /v1/jobs/cancel": on("/v1/jobs/cancel", **body(ids=["<job>"])),
    "GET /v1/dead-letters": on("/v1/dead-letters", params={"limit": 100}),
    "POST /v1/dead-letters/replay": on("/v1/dead-letters/replay", **body(ids=["<dead>"])),
    "POST /v1/dead-letters/delete": each(
        on("/v1/dead-letters/delete", **body(ids=["<dead>"])),
        on("/v1/dead-letters/delete", **body(all=True)),
    ),
    "POST /v1/dead-letters/resume": on("/v1/dead-letters/resume", **body()),
    "GET /v1/drivers": on("/v1/drivers"),
    "POST /v1/drivers/{name}/sync": on("/v1/drivers/redis/sync", **body()),
    "POST /v1/drivers/{name}/detach": on("/v1/drivers/redis/detach", **body()),
    "POST /v1/drivers/{name}/retire": on("/v1/drivers/redis/retire", **body()),
    "POST /v1/drivers/{name}/join": on("/v1/drivers/redis/join", **body()),
    "GET /v1/sources": on("/v1/sources"),
    "GET /v1/sources/{source}": on("/v1/sources/default"),
    "DELETE /v1/sources/{source}": on("/v1/sources/default", params={"confirm": "true"}),
    "PUT /v1/sources/{source}/keys/{key}": each(
        on(f"{KEYS}/<key>", **body(value="own"), headers={"If-Match": '"1"'}),
        on(f"{KEYS}/own", **body(value="own"), headers={"Idempotency-Key": "<request>v"}),
    ),
    "GET /v1/sources/{source}/keys/{key}": on(f"{KEYS}/<key>"),
    "HEAD /v1/sources/{source}/keys/{key}": on(f"{KEYS}/<key>"),
    "DELETE /v1/sources/{source}/keys/{key}": on(f"{KEYS}/<key>"),
    "GET /v1/sources/{source}/keys": each(on(KEYS), on(KEYS, params={"pattern": "<key>*"})),
    "POST /v1/sources/{source}/search": each(
        on("/v1/sources/default/search", **body(query="*")),
        on("/v1/sources/default/search", **body(query="<value>")),
    ),
    "POST /v1/sources/{source}/count": on("/v1/sources/default/count", **body(query="<value>")),
    "POST /v1/sources/{source}/batch": each(
        on("/v1/sources/default/batch", **body(retrieve=["<key>"])),
        on("/v1/sources/default/batch", **body(delete=["<key>"])),
    ),
    "GET /v1/limits": on("/v1/limits"),
    "GET /v1/usage": on("/v1/usage"),
    "GET /v1/keys": on("/v1/keys"),
    "POST /v1/keys": on("/v1/keys", **body(scopes=["read"])),
    "DELETE /v1/keys/{id}": on("/v1/keys/<api_key>"),
    "GET /metrics": on("/metrics"),
    "GET /": on("/"),
    "GET /ui/jobs": on("/ui/jobs"),
    "GET /ui/jobs/{id}": on("/ui/jobs/<job>"),
    "GET /ui/search": each(
        on("/ui/search", params={"query": "likes <text>"}),
        on("/ui/search", params={"query": "tea", "user_id": "<user>"}),
    ),
    "GET /ui/drivers": on("/ui/drivers"),
    "GET /ui/dead-letters": on("/ui/dead-letters"),
    "GET /ui/keys": on("/ui/keys"),
    "GET /ui/events": each(
        *(
            on("/ui/events", params={"page": page, "id": id})
            for page, id in (
                ("overview", ""),
                ("drivers", ""),
                ("dead-letters", ""),
                ("job", "<job>"),
            )
        )
    ),
    "POST /ui/keys": on("/ui/keys", data={"scope": "read", "days": "30"}),
    "POST /ui/keys/{id}/revoke": on("/ui/keys/<api_key>/revoke"),
    "POST /ui/dead-letters/replay": on("/ui/dead-letters/replay", data={"of": "all"}),
    "POST /ui/dead-letters/delete": on("/ui/dead-letters/delete", data={"of": "all"}),
    "POST /ui/dead-letters/resume": on("/ui/dead-letters/resume", data={"stage": "loud"}),
    "POST /ui/drivers/{name}/sync": on("/ui/drivers/redis/sync"),
    "POST /ui/drivers/{name}/detach": on("/ui/drivers/redis/detach"),
    "POST /ui/drivers/{name}/retire": on("/ui/drivers/redis/retire", data={"source": "default"}),
    "POST /ui/drivers/{name}/join": on("/ui/drivers/redis/join", data={"source": "default"}),
}
ABSENT = {
    "GET /v1/memories/{id}",
    "PATCH /v1/memories/{id}",
    "GET /v1/jobs/{id}",
    "GET /v1/jobs/{id}/events",
    "GET /v1/sources/{source}/keys/{key}",
    "HEAD /v1/sources/{source}/keys/{key}",
    "DELETE /v1/keys/{id}",
    "GET /ui/jobs/{id}",
    "POST /ui/keys/{id}/revoke",
}
"""They name one thing: 404."""
FREE = {"POST /v1/memories/import", "POST /v1/search", "GET /ui/search"}
"""Ids or scores in their answers follow from the words of the request."""
SHOWING = {
    "GET /v1/memories/{id}": "text",
    "POST /v1/memories/list": "text",
    "POST /v1/search": "text",
    "GET /v1/jobs/{id}": "job",
    "GET /v1/jobs/{id}/events": "job",
    "GET /v1/jobs": "job",
    "GET /v1/dead-letters": "dead",
    "GET /v1/sources/{source}/keys/{key}": "value",
    "GET /v1/sources/{source}/keys": "key",
    "POST /v1/sources/{source}/search": "value",
    "POST /v1/sources/{source}/batch": "value",
    "GET /v1/keys": "api_key",
    "GET /ui/jobs": "job",
    "GET /ui/jobs/{id}": "job",
    "GET /ui/search": "text",
    "GET /ui/dead-letters": "dead",
    "GET /ui/keys": "api_key",
}
"""What whose it is sees there: else nothing would be found because the request finds nothing."""


def needs() -> dict[str, Need]:
    """Of every route that is described, and of every page, but those that are open to all."""
    routes = [route for module in dashboard.MODULES for route in module.router.routes]
    found = {
        f"{method} {route.path}": need_of(route)
        for route in (*described().routes, *routes)
        if isinstance(route, Route) and route.path != "/ui/{path:path}"
        for method in (route.methods or set())
        if method != "HEAD" or "GET" not in (route.methods or ())
    }
    named = {re.sub(r":\w+}", "}", name): need for name, need in found.items()}
    return {name: need for name, need in named.items() if need != OPEN}


@dataclass(frozen=True, slots=True)
class Ground:
    house: House
    victim: Words
    nobody: Words

    def client(self, namespace: str, path: str) -> httpx.Client:
        key = self.house.keys[namespace, "admin"]
        if not is_page(path):
            return self.house.client(key)
        headers = {"Sec-Fetch-Site": "same-origin"}
        client = self.house.client(None, cookies={COOKIE: str(key)})
        client.headers.update(headers)
        return client

    def ask(self, namespace: str, operation: str, sent: Sent) -> httpx.Response:
        """The answer; of a stream its first event."""
        (path, options), method = sent, operation.partition(" ")[0]
        headers = {**options.get("headers", {}), **SAME_ID}
        with self.client(namespace, path) as client:
            request = client.build_request(method, path, **{**options, "headers": headers})
            answer = client.send(request, stream=True)
            if EVENTS not in answer.headers.get("content-type", ""):
                answer.read()
                return answer
            text = ""
            for line in answer.iter_lines():
                text += f"{line}\n"
                if line.startswith("data:"):
                    break
            answer.close()
            return httpx.Response(
                answer.status_code, headers=dict(answer.headers), text=text, request=request
            )

    def foreign(self, answer: httpx.Response, text: str | None = None) -> list[str]:
        """The victim's words in an answer that are not in the request."""
        request = answer.request
        asked = unquote(str(request.url)) + (request.content.decode() if request.content else "")
        asked += str(request.headers)
        told = f"{answer.text if text is None else text} {answer.headers}"
        return [name for name, it in self.victim.all.items() if it in told and it not in asked]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A victim with a memory, a value, jobs and a dead letter; a stranger with a memory that is alike."""
    directory = tmp_path_factory.mktemp("tenants")
    install_driver(directory / "strangers")
    settings = {
        "MEMRELAY_DRIVERS__LOUD__PATH": str(directory / "loud.db"),
        "MEMRELAY_SOURCES": json.dumps({"default": {"drivers": ["redis", "loud"]}}),
        "MEMRELAY_LOG_FORMAT": "json",
    }
    with House(directory, settings, str(directory / "strangers")) as house:
        for namespace in (VICTIM, STRANGER):
            house.keys[namespace, "admin"] = house.made(namespace, "admin")
        with house.of(STRANGER) as client:
            _stored(client, [{"text": "Bo likes tea.", "id": "own"}], "")
        with house.of(VICTIM) as client:
            victim = _furnished(client, house.keys[VICTIM, "admin"].id)
        nobody = replace(Words.new(), job="job_6613ccf2a1b2c_1", dead=f"d{uuid4().hex}")
        yield Ground(house, victim, nobody)


def _stored(client: httpx.Client, memories: list[dict[str, Any]], request: str) -> dict[str, Any]:
    headers = {"Idempotency-Key": request} if request else {}
    answer = client.post("/v1/memories", json={"memories": memories}, headers=headers)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = client.get(answer.headers["location"], params={"wait": 60}).json()
    assert job["status"] in ("stored", "partial", "failed"), job
    return job


def _furnished(client: httpx.Client, api_key: str) -> Words:
    it = replace(Words.new(), api_key=api_key, dead=f"d{uuid4().hex}")
    more = {"user_id": it.user, "tags": [it.tag], "metadata": {"note": it.text}}
    job = _stored(client, [{"id": it.id, "text": f"Ana likes {it.text} tea.", **more}], it.request)
    assert job["status"] == "stored", job
    value = client.put(f"{KEYS}/{it.key}", json={"value": it.value})
    assert value.is_success, value.text
    line, named = f'{{"text": "{it.text}", "id": "{it.id}2"}}\n', f"{it.request}i"
    told = client.post("/v1/memories/import", content=line, headers={"Idempotency-Key": named})
    assert '"accepted":1' in told.text
    dead = _stored(client, [{"id": it.dead, "text": f"{POISON} {it.text}", **more}], "")
    assert dead["status"] in ("partial", "failed"), dead
    return replace(it, job=job["id"])


def plain(answer: httpx.Response, it: Words) -> str:
    """What it says, whatever the things are called that were asked for."""
    text = answer.text
    for name, word in it.all.items():
        text = text.replace(word, f"<{name}>")
    return NOISE.sub("#", text)


def test_every_route_has_a_case() -> None:
    known = needs()
    assert set(CASES) == set(known)
    described_ = {
        f"{method.upper()} {path}"
        for path, methods in described().openapi()["paths"].items()
        for method in methods
    }
    assert described_ - {"GET /healthz", "GET /readyz"} <= set(CASES)
    assert set(SHOWING) | ABSENT <= set(CASES)


@pytest.mark.parametrize("operation", SHOWING)
def test_whose_it_is_sees_it(ground: Ground, operation: str) -> None:
    asked = [sent for sent in CASES[operation](ground.victim) if "delete" not in str(sent)]
    answers = [ground.ask(VICTIM, operation, sent) for sent in asked]
    word = getattr(ground.victim, SHOWING[operation])
    for answer in answers:
        assert answer.status_code == 200, answer.text
    assert any(word in answer.text for answer in answers), answers[0].text


@pytest.mark.parametrize("operation", CASES)
def test_what_is_another_s_is_as_what_nobody_has(ground: Ground, operation: str) -> None:
    need = needs()[operation]
    of_victim, of_nobody = CASES[operation](ground.victim), CASES[operation](ground.nobody)
    for there, absent in zip(of_victim, of_nobody, strict=True):
        one, other = (ground.ask(STRANGER, operation, sent) for sent in (there, absent))
        assert ground.foreign(one) == [], one.text
        assert one.status_code == other.status_code, (one.text, other.text)
        if need.everywhere:
            assert one.status_code == 403
        elif operation in ABSENT:
            assert one.status_code == 404
            assert one.content == other.content
            assert {**one.headers, "date": ""} == {**other.headers, "date": ""}
        else:
            assert one.status_code in (200, 201, 202, 303, 412), one.text
        if there != absent and operation not in FREE:
            assert plain(one, ground.victim) == plain(other, ground.nobody)


def test_a_driver_s_backlog_is_told_to_the_installation_s_own_alone(ground: Ground) -> None:
    [case] = CASES["GET /v1/drivers"](ground.victim)
    rows = ground.ask(STRANGER, "GET /v1/drivers", case).json()["drivers"]
    assert [(row["backlog"], row["oldest_seconds"]) for row in rows] == [(None, None)] * len(rows)
    rows = ground.ask(HOME, "GET /v1/drivers", case).json()["drivers"]
    assert all(isinstance(row["backlog"], int) for row in rows)


async def test_no_tool_tells_of_another_s(ground: Ground) -> None:
    """Every tool of ``/mcp`` with the victim's words in whatever it takes."""
    key, url = ground.house.keys[STRANGER, "admin"], f"{ground.house.first.url}/mcp"
    headers = {"Authorization": f"Bearer {key}"}
    it = ground.victim
    by_name = {"user_id": it.user, "memory_id": it.id, "event_id": it.job, "query": "likes tea"}
    async with httpx2.AsyncClient(headers=headers, timeout=90) as client:
        agent = Agent(lambda: streamable_http_client(url, http_client=client))
        tools = await agent.declared()
        assert len(tools) > 5
        for tool in tools:
            fields = tool.input_schema.get("properties", {})
            given = {name: by_name[name] for name in fields if name in by_name}
            if "filters" in fields:
                given["filters"] = {"AND": [{"user_id": it.user}]}
            if "text" in fields:
                given["text"] = "own"
            result = await agent._result(tool.name, given)
            told = result.model_dump_json()
            found = [n for n, word in it.all.items() if word in told and word not in str(given)]
            assert found == [], (tool.name, told)


def test_nothing_of_the_victim_s_has_changed(ground: Ground) -> None:
    """After all that the stranger has asked for, with an admin's key of its own."""
    with ground.house.of(VICTIM) as client:
        memory = client.get(f"/v1/memories/{ground.victim.id}")
        assert memory.json()["text"] == f"Ana likes {ground.victim.text} tea."
        assert client.get(f"/v1/memories/{ground.victim.id}2").status_code == 200
        assert client.get(f"{KEYS}/{ground.victim.key}").json()["value"] == ground.victim.value
        assert client.get(f"/v1/jobs/{ground.victim.job}").json()["status"] == "stored"
        dead = client.get("/v1/dead-letters").json()["dead_letters"]
        assert [letter["id"] for letter in dead] == [ground.victim.dead]
        assert client.get("/v1/limits").status_code == 200


def test_no_metric_and_no_log_line_has_a_tenant_s_word(ground: Ground) -> None:
    with ground.house.of(HOME) as client:
        metrics = client.get("/metrics").text
    assert "memrelay_accepted_memories_total" in metrics
    logs = "".join(log.read_text() for log in ground.house.logs)
    assert "memrelay.audit" in logs
    secret = {n: it for n, it in ground.victim.all.items() if n not in ("api_key", "job")}
    for text in (metrics, logs):
        assert [name for name, word in secret.items() if word in text] == []
    assert VICTIM not in metrics and STRANGER not in metrics


def audited(ground: Ground, key: str) -> list[dict[str, Any]]:
    lines = ground.house.first.api_log.read_text().splitlines()
    found = [json.loads(line) for line in lines if "memrelay.audit" in line]
    return [line for line in found if line["key"] == key]


def test_what_an_administrator_asks_for_is_logged_with_who_asked(ground: Ground) -> None:
    token = ground.house.made("audited", "admin")
    with ground.house.client(token) as admin, ground.house.client("mr_x") as nobody:
        admin.headers.update({"X-Request-ID": "anaudit"})
        made = admin.post("/v1/keys", json={"scopes": ["read", "write"], "name": "secret name"})
        admin.delete(f"/v1/keys/{made.json()['id']}")
        admin.delete("/v1/keys/a%0Aline")
        admin.post("/v1/dead-letters/replay", json={"all": True})
        admin.post("/v1/dead-letters/delete", json={"all": True})
        admin.post("/v1/jobs/cancel", json={"all": True})
        admin.post("/v1/memories/purge", json={"confirm": "audited"})
        admin.delete("/v1/sources/default", params={"confirm": "true"})
        admin.post("/v1/drivers/redis/retire", json={})
        admin.get("/v1/keys")
        nobody.post("/v1/keys", json={"scopes": ["read"]})
    id = made.json()["id"]
    wait_until("the last line", lambda: len(audited(ground, token.id)) >= 9, SECONDS)
    lines = audited(ground, token.id)
    told = [
        {n: it for n, it in line.items() if n not in ("at", "pid", "process", "level", "logger")}
        for line in lines
    ]
    common = {"request_id": "anaudit", "key": token.id, "namespace": "audited"}
    assert told == [
        {**common, "message": message, "status": status, **more}
        for message, status, more in [
            ("POST /v1/keys", "201", {"made": id, "of": "audited", "scopes": "read,write"}),
            ("DELETE /v1/keys/{id}", "204", {"target_id": id, "of": "audited"}),
            ("DELETE /v1/keys/{id}", "404", {"target_id": "?", "of": "audited"}),
            ("POST /v1/dead-letters/replay", "202", {"letters": "0"}),
            ("POST /v1/dead-letters/delete", "200", {"letters": "0"}),
            ("POST /v1/jobs/cancel", "200", {"jobs": "0", "canceled": "0"}),
            ("POST /v1/memories/purge", "202", {"source": "all"}),
            ("DELETE /v1/sources/{source}", "202", {"target_source": "default"}),
            ("POST /v1/drivers/{name}/retire", "403", {"target_name": "redis"}),
        ]
    ]
