"""Requests in any order against a model in memory: once their jobs have ended, what can be read is what the
model says; what was deleted is gone at once. Meanwhile the worker freezes and goes on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
from hypothesis import event, note
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fuzzing import tried
from tests.service import Service

EXAMPLES, STEPS = 8, 30
NUMBERS = st.integers(0, 4)
TEXTS = st.sampled_from(("red tea", "a window seat", "😀", "a\u0308 b", 'say "*|{}"', "\u202etea"))
TAGS = st.lists(st.sampled_from(("x", "y", "x y", "*")), max_size=2)
PEOPLE = ("ann", "b*b")
OWNERS = st.sampled_from(PEOPLE)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "score": NUMBERS,
        "category": st.sampled_from(("a", "b")),
        "deep": st.just({"k": [1]}),
    },
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXTS,
        "tags": TAGS | st.none(),
        "user_id": OWNERS,
        "metadata": st.fixed_dictionaries(
            {}, optional={"score": NUMBERS | st.none(), "deep": st.just({"k": None, "l": 1})}
        ),
    },
).filter(bool)
KEYS = st.sampled_from(("k", "k/1", "K", "k*"))
VALUES = st.integers(-1, 1) | st.sampled_from((None, [], {}, "x", {"a": [1.5, None]}))


@dataclass
class Write:
    """One accepted write of one id; ``memory`` is None for a delete."""

    version: int
    memory: dict[str, Any] | None
    canceled: bool = False


@dataclass
class Sent:
    """A request under an Idempotency-Key, and what it was answered."""

    key: str
    method: str
    path: str
    body: Any
    answer: Any


@dataclass
class Model:
    """What was accepted, in the order of versions."""

    writes: dict[str, list[Write]] = field(default_factory=dict)
    scoped: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """Deletes by user and tag, with their versions."""
    keys: dict[str, tuple[Any, int]] = field(default_factory=dict)

    def newest(self, id: str) -> Write | None:
        """The write that counts, unless it is a delete or deleted."""
        left = [write for write in self.writes.get(id, ()) if not write.canceled]
        if not left or left[-1].memory is None:
            return None
        newest, memory = left[-1], left[-1].memory
        covered = any(v > newest.version and chosen(memory, what) for v, what in self.scoped)
        return None if covered else newest

    def live(self) -> dict[str, dict[str, Any]]:
        found = {id: self.newest(id) for id in self.writes}
        return {id: write.memory for id, write in found.items() if write and write.memory}


def chosen(memory: dict[str, Any], what: dict[str, Any]) -> bool:
    """Whether a selection by user and tag means a memory."""
    owner, tag = what.get("user_id"), what.get("filter", {}).get("tags")
    return owner in (None, memory.get("user_id")) and (tag is None or tag in memory["tags"])


def merged(base: Any, changes: Any) -> Any:
    """RFC 7396, as it is written there."""
    if not isinstance(changes, dict):
        return changes
    target = dict(base) if isinstance(base, dict) else {}
    for name, value in changes.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merged(target.get(name), value)
    return target


class Machine(RuleBasedStateMachine):
    """One client's requests. Its ids, users and keys begin with ``own``."""

    service: Service
    http: httpx.Client

    def __init__(self) -> None:
        super().__init__()
        self.own = uuid4().hex
        self.model = Model()
        self.jobs: list[tuple[str, list[Write]]] = []
        self.sent: list[Sent] = []
        self.last = 0
        self.frozen = False

    @initialize()
    def begin(self) -> None:
        note(f"own = {self.own}")
        for owner in PEOPLE:
            numbers = [0, 1, 2] if owner == PEOPLE[0] else [3, 4]
            some = {"tags": ["x"], "metadata": {"score": 1, "deep": {"k": [1]}}}
            self.remembered(numbers, {"text": "tea", "user_id": f"{self.own}-{owner}", **some})

    def teardown(self) -> None:
        self.thaw()

    # The worker.

    @precondition(lambda self: not self.frozen)
    @rule()
    def freeze(self) -> None:
        self.hold()

    def hold(self) -> None:
        self.service.freeze_worker()
        self.frozen = True

    @precondition(lambda self: self.frozen)
    @rule()
    def go_on(self) -> None:
        self.thaw()

    def thaw(self) -> None:
        self.service.thaw_worker()
        self.frozen = False

    def settle(self) -> None:
        """Until every job has ended."""
        self.thaw()
        for job, writes in self.jobs:
            answer = self.http.get(f"/v1/jobs/{job}", params={"wait": 60}).json()
            canceled = bool(writes) and all(write.canceled for write in writes)
            assert answer["status"] == ("canceled" if canceled else "stored"), answer
        self.jobs.clear()

    # Writes.

    def id(self, number: int) -> str:
        return f"{self.own}-{number}"

    def write(
        self, method: str, path: str, body: Any, *, repeated: bool = False, **more: Any
    ) -> tuple[httpx.Response, dict[str, Any]]:
        """A write that must be accepted; one that may be ``repeated`` has an Idempotency-Key."""
        key = uuid4().hex
        headers = {**more.pop("headers", {}), **({"Idempotency-Key": key} if repeated else {})}
        answer = self.http.request(method, path, json=body, headers=headers, **more)
        assert answer.status_code in (200, 202), (answer.status_code, answer.text)
        told: dict[str, Any] = answer.json()
        if repeated:
            self.sent.append(Sent(key, method, path, body, told))
        return answer, told

    def entered(self, told: dict[str, Any], memories: list[dict[str, Any] | None]) -> None:
        """Versions go up from request to request; the model has the writes."""
        writes = []
        for line, memory in zip(told["memories"], memories, strict=True):
            assert line["version"] > self.last
            self.last = line["version"]
            writes.append(Write(line["version"], memory))
            self.model.writes.setdefault(line["id"], []).append(writes[-1])
        self.jobs.append((told["job"]["id"], writes))

    @rule(
        numbers=st.lists(NUMBERS, min_size=1, max_size=5),
        text=TEXTS,
        tags=TAGS,
        owner=OWNERS | OWNERS | st.none(),
        metadata=METADATA,
        lane=st.sampled_from(("interactive", "bulk")),
        repeated=st.booleans(),
    )
    def remember(
        self,
        *,
        numbers: list[int],
        text: str,
        tags: list[str],
        owner: str | None,
        metadata: dict[str, Any],
        lane: str,
        repeated: bool,
    ) -> None:
        memory = {"text": text, "tags": tags, "metadata": metadata}
        memory |= {"user_id": f"{self.own}-{owner}"} if owner else {}
        self.remembered(numbers, memory, lane=lane, repeated=repeated)

    def remembered(
        self,
        numbers: list[int],
        memory: dict[str, Any],
        *,
        lane: str = "interactive",
        repeated: bool = False,
    ) -> None:
        """One memory for each number, told apart by their texts; a number may come twice."""
        memories = [{**memory, "text": f"{memory['text']} {at}"} for at in range(len(numbers))]
        ids = [self.id(number) for number in numbers]
        body = {"memories": [{"id": i, **m} for i, m in zip(ids, memories, strict=True)]}
        _, told = self.write("POST", "/v1/memories", {**body, "lane": lane}, repeated=repeated)
        assert [line["id"] for line in told["memories"]] == ids
        self.entered(told, [*memories])

    @rule(number=NUMBERS, changes=CHANGES, repeated=st.booleans(), match=st.sampled_from("=*!-"))
    def patch(self, number: int, changes: dict[str, Any], repeated: bool, match: str) -> None:
        self.patched(number, changes, repeated=repeated, match=match)

    @rule(number=NUMBERS, text=TEXTS, changes=CHANGES)
    def patch_what_is_not_stored_yet(self, number: int, text: str, changes: dict[str, Any]) -> None:
        self.hold()
        self.remembered([number], {"text": text, "tags": ["y"], "metadata": {"deep": {"k": [2]}}})
        self.patched(number, changes)
        self.compare_memories()

    def patched(
        self, number: int, changes: dict[str, Any], *, repeated: bool = False, match: str = "="
    ) -> None:
        path, newest = f"/v1/memories/{self.id(number)}", self.model.newest(self.id(number))
        if "user_id" in changes:
            changes = {**changes, "user_id": f"{self.own}-{changes['user_id']}"}
        version = newest.version if newest else 1
        tag = {"=": f'"{version}"', "*": "*", "!": f'"{version + 1}"', "-": None}[match]
        headers = {} if tag is None else {"If-Match": tag}
        event(f"patched while frozen: {self.frozen}, there: {newest is not None}, match: {match}")
        if newest is None or match == "!":
            answer = self.http.patch(path, json=changes, headers=headers)
            assert answer.status_code == (404 if newest is None else 412), answer.text
            return
        _, told = self.write("PATCH", path, changes, repeated=repeated, headers=headers)
        memory = merged(newest.memory, changes)
        self.entered(told, [{"tags": [], "metadata": {}, **memory}])

    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=2, unique=True), repeated=st.booleans())
    def delete(self, numbers: list[int], repeated: bool) -> None:
        ids = [self.id(number) for number in numbers]
        path, body = "/v1/memories/delete", {"ids": ids}
        if len(ids) == 1:
            _, told = self.write("DELETE", f"/v1/memories/{ids[0]}", None, repeated=repeated)
        else:
            _, told = self.write("POST", path, body, repeated=repeated)
        self.entered(told, [None] * len(ids))
        for id in ids:
            self.is_gone(id)

    @rule(owner=OWNERS, tag=st.sampled_from(("*", "x y", "x", "")), repeated=st.booleans())
    def delete_where(self, owner: str, tag: str, repeated: bool) -> None:
        what: dict[str, Any] = {"user_id": f"{self.own}-{owner}"}
        if tag:
            what["filter"] = {"tags": tag}
        self.deleted_where(what, repeated=repeated)

    @rule(number=NUMBERS, owner=OWNERS, text=TEXTS)
    def remember_what_a_waiting_delete_leaves(self, number: int, owner: str, text: str) -> None:
        """It is stored before the delete is done: that one is bulk work."""
        self.hold()
        what = {"user_id": f"{self.own}-{owner}"}
        self.deleted_where(what)
        self.remembered([number], {"text": text, "tags": ["x"], "metadata": {}, **what})
        self.compare_memories()

    def deleted_where(self, what: dict[str, Any], *, repeated: bool = False) -> None:
        before = self.model.live()
        _, told = self.write("POST", "/v1/memories/delete", what, repeated=repeated)
        assert told["version"] > self.last
        self.last = told["version"]
        self.model.scoped.append((told["version"], what))
        self.jobs.append((told["job"]["id"], []))
        for id, memory in before.items():
            if chosen(memory, what):
                self.is_gone(id)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The same request again is the same answer, whatever came between; another one is refused."""
        sent = self.sent[data.draw(st.integers(0, len(self.sent) - 1))]
        headers = {"Idempotency-Key": sent.key}
        again = self.http.request(sent.method, sent.path, json=sent.body, headers=headers)
        assert again.status_code in (200, 202), again.text
        told = again.json()
        assert told["job"]["id"] == sent.answer["job"]["id"]
        assert told["memories"] == sent.answer["memories"]
        other = {"ids": [self.id(0)]}
        refused = self.http.post("/v1/memories/delete", json=other, headers=headers)
        if sent.body != other:
            assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")

    @precondition(lambda self: any(writes for _, writes in self.jobs))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """What no worker has begun with is not stored; deletes are not canceled."""
        some = [(job, writes) for job, writes in self.jobs if writes][::-1]  # shrinks to the newest
        job, writes = some[data.draw(st.integers(0, len(some) - 1))]
        answer = self.http.post("/v1/jobs/cancel", json={"ids": [job]})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        able = [write for write in writes if write.memory is not None and not write.canceled]
        assert told["canceled"] in (0, len(able)), told
        assert told["jobs"] == (told["canceled"] > 0)
        event(f"canceled: {told['canceled'] > 0}")
        if told["canceled"]:
            for write in able:
                write.canceled = True

    # Keys.

    @precondition(lambda self: not self.frozen)
    @rule(key=KEYS, value=VALUES, how=st.sampled_from(("always", "new", "match", "mismatch")))
    def put(self, key: str, value: Any, how: str) -> None:
        held = self.model.keys.get(key)
        headers = {}
        if how in ("match", "mismatch"):
            version = held[1] if held and how == "match" else 1
            headers["If-Match"] = f'"{version}"'
        body = {"value": value, "overwrite": how != "new"}
        answer = self.http.put(self.key_path(key), json=body, params=self.place, headers=headers)
        if how == "new" and held is not None:
            assert (answer.status_code, answer.json()["code"]) == (409, "exists")
        elif headers and (held is None or how == "mismatch"):
            assert answer.status_code == 412, answer.text
        else:
            assert answer.status_code in (200, 202), answer.text
            version = answer.json()["version"]
            assert version > self.last
            self.last = version
            self.jobs.append((answer.json()["job"]["id"], []))
            self.model.keys[key] = (value, version)

    @precondition(lambda self: not self.frozen)
    @rule(key=KEYS)
    def drop(self, key: str) -> None:
        answer = self.http.delete(self.key_path(key), params=self.place)
        assert answer.status_code in (200, 202), answer.text
        self.jobs.append((answer.json()["job"]["id"], []))
        self.model.keys.pop(key, None)
        assert self.http.get(self.key_path(key), params=self.place).status_code == 404

    @property
    def place(self) -> dict[str, str]:
        return {"namespace": self.own}

    def key_path(self, key: str) -> str:
        return f"/v1/sources/default/keys/{key}"

    # Reads.

    def is_gone(self, id: str) -> None:
        assert self.http.get(f"/v1/memories/{id}").status_code == 404

    @rule()
    def read_memories(self) -> None:
        self.compare_memories()

    def compare_memories(self) -> None:
        self.settle()
        live = self.model.live()
        for number in range(5):
            answer, wanted = (
                self.http.get(f"/v1/memories/{self.id(number)}"),
                live.get(self.id(number)),
            )
            assert answer.status_code == (404 if wanted is None else 200), answer.text
            if wanted is not None:
                found = answer.json()
                assert {name: found[name] for name in wanted} == wanted
                newest = self.model.newest(found["id"])
                assert newest is not None and found["version"] == newest.version

    @rule(
        owners=st.sampled_from([PEOPLE, PEOPLE[:1], PEOPLE[1:]]),
        tag=st.sampled_from("xy*") | st.none(),
    )
    def read_selections(self, owners: tuple[str, ...], tag: str | None) -> None:
        """Count, list and search, of every driver, give the same."""
        self.settle()
        users = [f"{self.own}-{owner}" for owner in owners]
        what: dict[str, Any] = {"user_ids": users}
        if tag is not None:
            what["filter"] = {"tags": tag}
        wanted = sorted(
            id
            for id, memory in self.model.live().items()
            if memory.get("user_id") in users and (tag is None or tag in memory["tags"])
        )
        event(f"selected: {len(wanted)}")
        assert self.asked("/v1/memories/count", what)["count"] == len(wanted)
        page = self.asked("/v1/memories/list", {**what, "limit": 50})
        assert [memory["id"] for memory in page["memories"]] == wanted
        for driver in ("redis", "sqlite"):
            search = {**what, "query": "tea", "mode": "semantic", "top_k": 50, "drivers": [driver]}
            hits = self.asked("/v1/search", search)["hits"]
            assert sorted(hit["id"] for hit in hits) == wanted, driver

    @rule()
    def read_keys(self) -> None:
        self.settle()
        for key in ("k", "k/1", "K", "k*"):
            answer, held = (
                self.http.get(self.key_path(key), params=self.place),
                self.model.keys.get(key),
            )
            assert answer.status_code == (404 if held is None else 200), (key, answer.text)
            if held is not None:
                assert (answer.json()["value"], answer.json()["version"]) == held
        listed = self.http.get("/v1/sources/default/keys", params=self.place).json()["keys"]
        assert sorted(listed) == sorted(self.model.keys)

    def asked(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post(path, json=body)
        assert answer.status_code == 200, (answer.status_code, answer.text, json.dumps(body))
        told: dict[str, Any] = answer.json()
        return told

    @invariant()
    def what_is_deleted_is_not_found(self) -> None:
        """Whatever waits, and whether the worker lives: no read gives what is deleted."""
        live = self.model.live()
        users = [f"{self.own}-{owner}" for owner in PEOPLE]
        hits = self.asked("/v1/search", {"query": "tea", "user_ids": users, "top_k": 50})["hits"]
        written = {id for id, writes in self.model.writes.items() if any(w.memory for w in writes)}
        assert {hit["id"] for hit in hits} <= written
        gone = {
            id
            for id, writes in self.model.writes.items()
            if id not in live and not any(write.canceled for write in writes)
        }
        assert not gone & {hit["id"] for hit in hits}


def test_service_is_as_the_model_says(service: Service, http: httpx.Client) -> None:
    class Here(Machine):
        pass

    Here.service, Here.http = service, http
    run_state_machine_as_test(Here, settings=tried(EXAMPLES, stateful_step_count=STEPS))
