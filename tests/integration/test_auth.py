"""API keys on a running service: every route by every scope and namespace, cookies, and keys that end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import httpx2
import pytest
from mcp.client.streamable_http import streamable_http_client
from starlette.routing import Route

from api import dashboard
from api.app import MODULES
from api.auth import COOKIE, is_page
from api.scopes import OPEN, Need, need_of
from memrelay import Memrelay
from memrelay.apikeys import SCOPES, KeyScope, Token, new_token
from memrelay.errors import Denied
from tests.agents import Agent, of
from tests.house import ACME, ADMIN_KEY, GLOBEX, HOME, House
from tests.integration.conftest import Refused
from tests.rig import wait_until
from tests.service import Service

SECONDS = 60
"""For what takes 5 at most on a machine that has time."""
ROUTES = [
    (method, route.path, need_of(route))
    for module in (*MODULES, *dashboard.MODULES)
    for route in module.router.routes
    if isinstance(route, Route)
    for method in sorted(route.methods or ())
    if route.path != "/ui/logout"  # which sends everybody to the login
] + [("POST", "/mcp", Need(("read", "write")))]


def asked(client: httpx.Client, method: str, path: str) -> httpx.Response:
    """The route, of something that there is not, with nothing in the body."""
    place = re.sub(r"\{[^}]*\}", "nope", path)
    body = {} if method in ("GET", "HEAD", "DELETE") else {"json": {}}
    return client.request(method, place, **body)


@asynccontextmanager
async def agent(house: House, key: Token) -> AsyncIterator[Agent]:
    """One that shows ``key``."""
    url, headers = f"{house.first.url}/mcp", {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as client:
        yield Agent(lambda: streamable_http_client(url, http_client=client))


def turned_away(answer: httpx.Response) -> bool:
    login = answer.headers.get("location") == "/ui/login"
    return answer.status_code in (401, 403) or login


@pytest.mark.parametrize(("method", "path", "need"), ROUTES, ids=lambda it: str(it)[:60])
def test_each_route_answers_those_who_may(house: House, method: str, path: str, need: Need) -> None:
    with house.client(None) as nobody, house.client(new_token()) as stranger:
        for client in (nobody, stranger):
            answer = asked(client, method, path)
            assert turned_away(answer) is (need != OPEN), answer.text
            if need != OPEN and not is_page(path):
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Bearer ")
    if need == OPEN:
        return
    for namespace in (HOME, ACME):
        for scope in SCOPES:
            may = scope == "admin" or scope in need.scopes
            may = may and (namespace == HOME or not need.everywhere)
            with house.of(namespace, scope) as client:
                answer = asked(client, method, path)
            assert turned_away(answer) is not may, (namespace, scope, answer.text)
            assert answer.status_code < 500
            if not may:
                assert answer.status_code == 403


def test_scopes_are_what_they_are_called(house: House, refused: Refused) -> None:
    memory = {"memories": [{"text": "tea"}]}
    with house.of(ACME, "read") as reader:
        assert "write" in refused(reader.post("/v1/memories", json=memory), 403)["detail"]
        assert reader.post("/v1/search", json={"query": "tea"}).status_code == 200
    with house.of(ACME, "write") as writer:
        accepted = writer.post("/v1/memories", json=memory)
        assert accepted.status_code == 202
        assert writer.get(accepted.headers["location"]).status_code == 200
        refused(writer.post("/v1/search", json={"query": "tea"}), 403)
        refused(writer.post("/v1/memories/purge", json={"confirm": ACME}), 403)
    with house.of(ACME) as admin:
        assert admin.post("/v1/memories", json=memory).status_code == 202
        assert admin.post("/v1/search", json={"query": "tea"}).status_code == 200
        refused(admin.post("/v1/drivers/redis/detach", json={}), 403)
        refused(admin.get("/metrics"), 403)
    with house.of(HOME, "read") as scraper:
        assert scraper.get("/metrics").status_code == 200


@pytest.mark.parametrize("header", ["Basic dTpw", "Bearer", "bearer  mr_x", "mr_x", "Bearer é"])
def test_other_credentials_are_none(house: House, refused: Refused, header: str) -> None:
    with house.client(None) as client:
        headers = {"Authorization": header.encode()}
        refused(client.get("/v1/limits", headers=headers), 401)


def test_the_kind_of_the_credentials_may_be_written_in_any_case(house: House) -> None:
    headers = {"Authorization": f"bEARER {house.keys[ACME, 'read']}"}
    with house.client(None) as client:
        assert client.get("/v1/limits", headers=headers).status_code == 200


def test_a_key_is_revoked_in_every_process(house: House) -> None:
    token, other = house.made(ACME, "read"), house.made(ACME, "read")
    services = (house.first, house.second)

    def status(service: Service) -> int:
        with house.client(token, service=service) as client:
            return client.get("/v1/limits").status_code

    assert [status(service) for service in services] == [200, 200]
    house.revoke(token)
    for service in services:
        wait_until("the key to be refused", lambda it=service: status(it) == 401, SECONDS)
    for service in services:  # while they are exchanged there are two
        with house.client(other, service=service) as client:
            assert client.get("/v1/limits").status_code == 200


def test_keys_are_made_listed_and_revoked_over_http(house: House, refused: Refused) -> None:
    with Memrelay(house.first.url, api_key=str(house.keys[ACME, "admin"])) as relay:
        made = relay.api_keys().create(["write", "read"], name="chat agent")
        assert made.key not in repr(made)
        assert (made.namespace, made.scopes, made.name) == (ACME, ("read", "write"), "chat agent")
        listed = {key.id: key for key in relay.api_keys().list()}
        assert listed[made.id].name == "chat agent"
        assert {key.namespace for key in listed.values()} == {ACME}
        with house.client(made.key) as client:
            assert client.post("/v1/memories", json={"memories": [{"text": "tea"}]}).is_success
            refused(client.get("/v1/keys"), 403)
            refused(client.post("/v1/keys", json={"scopes": ["admin"]}), 403)
        relay.api_keys().revoke(made.id)
        assert made.id not in {key.id for key in relay.api_keys().list()}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/scopes"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["root"]}, "/scopes/0"),
        ({"scopes": ["read"] * 4}, "/scopes"),
        ({"scopes": ["read"], "name": "a\nb"}, "/name"),
        ({"scopes": ["read"], "name": "a" * 101}, "/name"),
        ({"scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"scopes": ["read"], "expires_at": "soon"}, "/expires_at"),
        ({"scopes": ["read"], "namespace": "A|B"}, "/namespace"),
        ({"scopes": ["read"], "key": "mr_mine"}, "/key"),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    house: House, refused: Refused, body: dict[str, object], pointer: str
) -> None:
    with house.of(ACME) as admin:
        refused(admin.post("/v1/keys", json=body), 422, pointer)


def test_a_key_is_told_once_and_cached_nowhere(house: House) -> None:
    with house.of(GLOBEX) as admin:
        answer = admin.post("/v1/keys", json={"scopes": ["read"]})
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["key"] not in admin.get("/v1/keys").text


def test_only_an_operator_makes_keys_of_other_namespaces(house: House, refused: Refused) -> None:
    wanted = {"scopes": ["read"], "namespace": GLOBEX}
    with house.of(ACME) as tenant:
        refused(tenant.post("/v1/keys", json=wanted), 403)
        refused(tenant.get("/v1/keys", params={"namespace": GLOBEX}), 403)
        id = house.keys[GLOBEX, "read"].id
        refused(tenant.delete(f"/v1/keys/{id}", params={"namespace": GLOBEX}), 403)
    for operator in (house.of(HOME), house.client(ADMIN_KEY, service=house.second)):
        with operator:
            made = operator.post("/v1/keys", json=wanted).json()
            assert made["namespace"] == GLOBEX
            listed = operator.get("/v1/keys", params={"namespace": GLOBEX}).text
            assert made["id"] in listed
            place = f"/v1/keys/{made['id']}"
            assert operator.delete(place).status_code == 404
            assert operator.delete(place, params={"namespace": GLOBEX}).status_code == 204


def test_the_admin_key_of_the_settings_is_of_its_process_alone(
    house: House, refused: Refused
) -> None:
    with house.client(ADMIN_KEY) as other:
        refused(other.get("/v1/limits"), 401)
    with house.client(ADMIN_KEY, service=house.second) as operator:
        assert operator.get("/v1/usage").json()["namespace"] == HOME
        assert operator.post("/v1/dead-letters/resume", json={}).status_code == 200


@pytest.mark.parametrize("scope", SCOPES)
def test_pages_take_the_key_from_a_cookie_and_routes_do_not(house: House, scope: KeyScope) -> None:
    cookies = {COOKIE: str(house.keys[ACME, scope])}
    with house.client(None, cookies=cookies) as browser:
        assert browser.get("/").status_code == (403 if scope == "write" else 200)
        assert browser.get("/v1/limits").status_code == 401
        assert browser.post("/mcp", json={}).status_code == 401


def test_a_browser_without_a_key_is_sent_to_the_login(house: House) -> None:
    for cookies in ({}, {COOKIE: "mr_x"}, {COOKIE: str(new_token())}):
        with house.client(None, cookies=cookies) as browser:
            answer = browser.get("/ui/jobs")
            assert (answer.status_code, answer.headers["location"]) == (303, "/ui/login")
            partial = browser.get("/ui/jobs", headers={"HX-Request": "true"})
            assert partial.status_code == 401
            assert partial.headers["hx-redirect"] == "/ui/login"


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "http://own"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://own", "Sec-Fetch-Site": "cross-site"}, False),
        ({}, False),
    ],
)
def test_with_a_cookie_only_our_own_pages_change_anything(
    house: House, headers: dict[str, str], may: bool
) -> None:
    own = house.first.url
    headers = {name: value.replace("http://own", own) for name, value in headers.items()}
    cookies = {COOKIE: str(house.keys[HOME, "admin"])}
    with house.client(None, cookies=cookies) as browser:
        answer = browser.post("/ui/drivers/nope/detach", headers=headers)
        assert answer.status_code == (404 if may else 403)


async def test_agents_have_the_scopes_of_their_keys(house: House) -> None:
    said = {"text": "Bo likes tea.", "user_id": "bo"}
    async with (
        agent(house, house.keys[ACME, "read"]) as reader,
        agent(house, house.keys[ACME, "admin"]) as admin,
        agent(house, house.keys[GLOBEX, "admin"]) as stranger,
    ):
        assert "scope write" in await reader.fails("add_memory", **said)
        event = await admin.done("add_memory", **said)
        assert await reader.found("tea?", filters=of("bo")) == event["memory_ids"]
        assert await stranger.found("tea?", filters=of("bo")) == []


def test_the_client_is_told_what_it_lacks(house: House) -> None:
    key = str(house.keys[ACME, "read"])
    with Memrelay(house.first.url, api_key=key) as relay, pytest.raises(Denied, match="write"):
        relay.add("tea")
    with (
        Memrelay(house.first.url, api_key="mr_x") as relay,
        pytest.raises(Denied, match="not good"),
    ):
        relay.count()


def test_keys_by_the_command_line(house: House) -> None:
    env = house.first.env | {"MEMRELAY_URL": house.first.url}
    directory = house.first.directory

    def said(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "memrelay.cli", *arguments]
        return subprocess.run(
            command, cwd=directory, env=env | more, capture_output=True, text=True, check=False
        )

    made = said("keys", "create", "--namespace", "initech", "--scope", "write", "--name", "tps")
    key = made.stdout.strip()
    assert made.returncode == 0 and key.startswith("mr_") and key not in made.stderr
    assert said("add", "tea", MEMRELAY_API_KEY=key).returncode == 0
    used = json.loads(said("usage", "--json", MEMRELAY_API_KEY=key).stdout)
    assert (used["namespace"], used["total"]["memories"]) == ("initech", 1)
    assert "1 memories" in said("usage", MEMRELAY_API_KEY=key).stdout
    listed = json.loads(said("keys", "ls", "--namespace", "initech", "--json").stdout)
    [row] = listed["keys"]
    assert (row["name"], row["scopes"]) == ("tps", ["write"])
    assert key not in json.dumps(listed)
    assert said("keys", "revoke", row["id"]).returncode == 0
    again = said("keys", "revoke", row["id"])
    assert again.returncode == 1 and "no API key of this id" in again.stderr


def test_no_secret_is_written_down_anywhere(house: House) -> None:
    tokens = [*house.keys.values(), house.made(ACME, "read"), new_token()]
    answers = []
    for token in tokens:
        with house.client(token) as client, house.client(None) as other:
            answers.append(client.post("/v1/memories", content=b"{"))
            answers.append(client.get(f"/v1/jobs/{token}"))
            answers.append(client.get("/v1/limits", headers={"Authorization": f"Basic {token}"}))
            answers.append(other.post("/v1/search", json={"query": 1, str(token): 2}))
            answers.append(other.get("/", headers={"Cookie": f"{COOKIE}={token}"}))
    assert len(answers) == 5 * len(tokens)
    told = b"".join(answer.content + str(answer.headers).encode() for answer in answers)
    logs = b"".join(log.read_bytes() for log in house.logs)
    kept = b"".join(it.read_bytes() for it in Path(house.journal.directory).rglob("*.aof"))
    assert tokens[0].digest.encode() in kept
    for token in tokens:
        secret = token.secret.encode()
        assert secret not in told
        assert secret not in logs
        assert secret not in kept
    assert ADMIN_KEY.encode() not in told + logs + kept
