"""The load of a campaign: clients that write all the time, and note what was acknowledged."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import uuid4

from memrelay.times import format_time, now_us, parse_time
from tests.oracle import fields_of
from tests.rig import WORDS, Writer, memory

USERS = 40
HOT_IDS = 2000
"""Ids that are written again and again, by all writers."""
FRESH = 0.15
"""The share of puts that go to a new id."""
LARGEST = 200
EXPIRING = 0.03
"""The share of memories that expire within ``EXPIRY_SECONDS``."""
EXPIRY_SECONDS = (2.0, 20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """``rate``: memories a second of all writers together."""

    writers: int = 6
    rate: float = 400.0


class Deleted:
    """What was deleted, since when: no search that begins later may give it. For many threads."""

    def __init__(self) -> None:
        self._by_id: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self._by_pair: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)

    def note(self, answer: Mapping[str, Any]) -> None:
        now = time.monotonic()
        for told in answer["memories"]:
            self._by_id[told["id"]].append((told["version"], now))

    def note_where(self, field: str, value: str, answer: Mapping[str, Any]) -> None:
        self._by_pair[field, value].append((answer["version"], time.monotonic()))

    def covers(self, hit: Mapping[str, Any], began: float) -> bool:
        """Whether a delete of a higher version was acknowledged before ``began``."""
        lines = list(self._by_id.get(hit["id"], ()))
        for pair in fields_of(hit):
            lines += list(self._by_pair.get(pair, ()))
        return any(deleted > hit["version"] and at < began for deleted, at in lines)


class Traffic:
    """Writers of one namespace in threads, from ``start`` to ``stop``.

    ``canary`` is in each of their texts, and in those of nobody else.
    """

    def __init__(
        self, writers: Sequence[Writer], seed: int, pace: Pace, *, canary: str = "own"
    ) -> None:
        self.writers = writers
        self.canary = canary
        self.deleted = Deleted()
        self.expiring: dict[tuple[str, int], int] = {}
        """When a write expires, in microseconds, by (id, version)."""
        self.requests: Counter[str] = Counter()
        """Acknowledged, by what they asked for."""
        self.canceled: dict[str, int] = {}
        """How many memories of a job were canceled, at least."""
        self.repeated_otherwise: list[tuple[Any, Any]] = []
        """Answers to the repetition of a request that were not those of the request."""
        self.errors: list[BaseException] = []
        self._pace = pace
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(writer, Client(Random(f"{seed}/{canary}/{n}"), n, canary)),
                name=f"{canary}-{n}",
            )
            for n, writer in enumerate(writers)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Every request that was begun is acknowledged on return, or its error is in ``errors``."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, writer: Writer, client: Client) -> None:
        """One client, closed loop, as fast as its share of the rate."""
        each = self._pace.writers / self._pace.rate
        acts = self._acts(writer, client)
        ready = time.monotonic()
        try:
            while not self._stopped.wait(max(0.0, ready - time.monotonic())):
                [name] = client.chance.choices(list(ACTS), list(ACTS.values()))
                count = acts[name]()
                self.requests[name] += 1
                ready = max(ready, time.monotonic() - 1.0) + count * each
        except BaseException as error:
            self.errors.append(error)

    def _acts(self, writer: Writer, client: Client) -> dict[str, Callable[[], int]]:
        return {
            "single": lambda: self._put(writer, client.memories(1), "interactive"),
            "batch": lambda: self._batch(writer, client, 20, "interactive"),
            "bulk": lambda: self._batch(writer, client, LARGEST, "bulk"),
            "delete": lambda: self._delete(writer, client),
            "repeat": lambda: self._repeat(writer, client),
            "select": lambda: self._select(writer, client),
            "cancel": lambda: self._cancel(writer, client),
        }

    def _batch(self, writer: Writer, client: Client, most: int, lane: str) -> int:
        return self._put(writer, client.memories(client.chance.randint(2, most)), lane)

    def _put(self, writer: Writer, memories: Sequence[dict[str, Any]], lane: str) -> int:
        self._note_expiring(memories, writer.put(memories, lane=lane))
        return len(memories)

    def _note_expiring(self, memories: Sequence[dict[str, Any]], answer: Mapping[str, Any]) -> None:
        for sent, told in zip(memories, answer["memories"], strict=True):
            if "expires_at" in sent:
                self.expiring[told["id"], told["version"]] = parse_time(sent["expires_at"])

    def _delete(self, writer: Writer, client: Client) -> int:
        ids = client.known(client.chance.randint(1, 8))
        self.deleted.note(writer.delete(ids))
        return len(ids)

    def _repeat(self, writer: Writer, client: Client) -> int:
        """A write, and then once or twice the same again under the same key."""
        key, memories = uuid4().hex, client.memories(client.chance.randint(1, 5))
        first = writer.put(memories, key=key)
        self._note_expiring(memories, first)
        for _ in range(client.chance.randint(1, 2)):
            body = {"memories": memories, "lane": "interactive"}
            again = writer.send("/v1/memories", body, key=key)
            told = [(answer["job"]["id"], answer["memories"]) for answer in (first, again)]
            if told[0] != told[1]:
                self.repeated_otherwise.append((told[0], told[1]))
        return len(memories)

    def _select(self, writer: Writer, client: Client) -> int:
        """Delete all of a user, or all of a tag."""
        user, topic = f"user-{client.chance.randrange(USERS)}", f"topic-{client.topic()}"
        field, value = ("user_id", user) if client.chance.random() < 0.5 else ("tags", topic)
        self.deleted.note_where(field, value, writer.delete_where(field, value))
        return 50  # a pause: what it selects has to be deleted

    def _cancel(self, writer: Writer, client: Client) -> int:
        """A write, and second thoughts: what no worker has taken up by then is stored nowhere."""
        memories = client.memories(client.chance.randint(1, LARGEST))
        answer = writer.put(memories, lane="bulk")
        self._note_expiring(memories, answer)
        job = answer["job"]["id"]
        self.canceled[job] = 0
        self.canceled[job] = writer.send("/v1/jobs/cancel", {"ids": [job]})["canceled"]
        return len(memories)


ACTS = {"single": 50, "batch": 20, "bulk": 5, "delete": 15, "repeat": 8, "select": 0.5, "cancel": 4}


class Client:
    """What one writer makes up. Ids are shared by all, but for the fresh ones."""

    def __init__(self, chance: Random, number: int, canary: str) -> None:
        self.chance = chance
        self._number = number
        self._canary = canary
        self._fresh = 0

    def memories(self, count: int) -> list[dict[str, Any]]:
        """With ids that differ from each other."""
        chosen = dict.fromkeys(self._id() for _ in range(count))
        return [self._memory(id) for id in chosen]

    def known(self, count: int) -> list[str]:
        """Ids that were written, most of them."""
        fresh = self._fresh and self.chance.random() < 0.5
        if fresh:
            numbers = {self.chance.randrange(self._fresh) for _ in range(count)}
            return [f"w{self._number}-{number}" for number in sorted(numbers)]
        return [f"hot-{number}" for number in self.chance.sample(range(HOT_IDS), count)]

    def topic(self) -> int:
        return int(self.chance.paretovariate(0.8)) % 1000

    def _id(self) -> str:
        if self.chance.random() < FRESH:
            self._fresh += 1
            return f"w{self._number}-{self._fresh - 1}"
        return f"hot-{self.chance.randrange(HOT_IDS)}"

    def _memory(self, id: str) -> dict[str, Any]:
        """Nine of ten stay with one user for ever, the others move."""
        user = hash_of(id) if self.chance.random() < 0.9 else self.chance.randrange(USERS)
        words = self.chance.choices(WORDS, k=self.chance.randint(4, 25))
        made = memory(id, " ".join([self._canary, *words]))
        if self.chance.random() < EXPIRING:
            lives = self.chance.uniform(*EXPIRY_SECONDS)
            made["expires_at"] = format_time(now_us() + int(1e6 * lives))
        if self.chance.random() < 0.8:
            made["user_id"] = f"user-{user}"
        if self.chance.random() < 0.3:
            made["tags"] = [f"topic-{self.topic()}"]
        if self.chance.random() < 0.3:
            made["metadata"] = {"category": self.chance.choice(["a", "b", "c"]), "n": user}
        return made


def hash_of(id: str) -> int:
    return sum(id.encode()) % USERS
