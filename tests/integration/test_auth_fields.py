"""What a body and a dump of the servers give away: no field that is not the caller's, and no key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from api.app import described
from tests.house import ACME, HOME, House

MASS = ("tenant_id", "tenant", "_internal", "version", "key_id", "is_admin", "__proto__")
"""What nobody may set; ``namespace`` and ``created_at`` too, but where they are the caller's to give."""
OWN = {
    "/v1/memories": {"/memories/0/created_at"},
    "/v1/memories/import": {"/created_at"},
    "/v1/memories/{id}": {"/created_at"},
    "/v1/keys": {"/namespace"},
}
PLACES = {"{id}": "own", "{source}": "default", "{key}": "own", "{name}": "redis"}


@dataclass(frozen=True, slots=True)
class Body:
    """An example of what a route takes."""

    method: str
    path: str
    media: str
    example: Mapping[str, Any]

    @property
    def places(self) -> list[str]:
        """Pointers to the objects of ours in it."""
        lists = {name: it for name, it in self.example.items() if isinstance(it, list)}
        return ["", *(f"/{name}/0" for name, it in lists.items() if it and isinstance(it[0], dict))]

    def own(self, pointer: str) -> bool:
        """Whether the field is the caller's to give: also the part of a source that a value is kept in."""
        part = self.path.startswith("/v1/sources/") and pointer == "/namespace"
        return part or pointer in OWN.get(self.path, ())

    def with_field(self, place: str, field: str) -> bytes:
        changed = json.loads(json.dumps(self.example))
        target = changed[place.split("/")[1]][0] if place else changed
        target[field] = "default"
        return json.dumps(changed).encode()


def bodies() -> Iterator[Body]:
    for path, methods in described().openapi()["paths"].items():
        for method, told in methods.items():
            for media, content in told.get("requestBody", {}).get("content", {}).items():
                for example in content["examples"].values():
                    yield Body(method.upper(), path, media, example["value"])


BODIES = list(bodies())


def test_every_route_that_takes_a_body_is_asked() -> None:
    assert len({(body.method, body.path) for body in BODIES}) > 15


@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{body.method} {body.path}")
def test_no_body_sets_what_is_not_the_caller_s(house: House, body: Body) -> None:
    path = re.sub(r"{\w+}", lambda found: PLACES[found[0]], body.path)
    fields = (*MASS, "namespace", "created_at")
    pointers = [(place, field) for place in body.places for field in fields]
    with house.of(HOME) as operator:
        for place, field in pointers:
            if body.own(f"{place}/{field}"):
                continue
            sent = body.with_field(place, field)
            headers = {"Content-Type": body.media, "Idempotency-Key": f"mass {field}"}
            answer = operator.request(body.method, path, content=sent, headers=headers)
            if body.path == "/v1/memories/import":
                assert '"accepted":0' in answer.text, answer.text
            else:
                assert answer.status_code == 422, (place, field, answer.text)
            assert f'"{place}/{field}"' in answer.text, answer.text


def test_nothing_in_the_servers_is_a_key(house: House) -> None:
    """Whoever dumps the journal, the broker and the store finds digests, and none opens anything."""
    dump = b"".join(_dumped(url) for url in (house.journal.url, house.store.url))
    token = house.keys[ACME, "admin"]
    assert token.id.encode() in dump and token.digest.encode() in dump
    assert all(it.secret.encode() not in dump for it in house.keys.values())
    found = {word.decode() for word in re.findall(rb"[A-Za-z0-9_+/=-]{32,128}", dump)}
    tried = {token.digest, *(word for word in found if token.digest in word)}
    tried |= set(sorted(found, key=len)[:200])
    for word in sorted(tried):
        for key in (word, f"mr_{word}", f"mr_{token.id}_{word}"):
            with house.client(key) as client:
                assert client.get("/v1/limits").status_code == 401, word


def _dumped(url: str) -> bytes:
    """Every key and value of the databases that are used."""
    parts: list[Any] = []
    for database in range(3):
        with redis.Redis.from_url(f"{url}/{database}") as client:
            for key in client.scan_iter(count=1000):
                parts += [key, _value(client, key)]
    return repr(parts).encode()


def _value(client: Any, key: bytes) -> Any:
    match client.type(key):
        case b"string":
            return client.get(key)
        case b"hash":
            return client.hgetall(key)
        case b"list":
            return client.lrange(key, 0, -1)
        case b"set":
            return client.smembers(key)
        case b"zset":
            return client.zrange(key, 0, -1)
        case b"stream":
            return client.xrange(key)
    return client.dump(key)
