"""memrelay on servers of its own, each to be killed alone, and clients that keep writing to it."""

from __future__ import annotations

import json
import logging
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self
from uuid import uuid4

import apsw
import httpx
import redis

from api.state import NAMESPACE
from backends.journal.journal import PREFIX
from deploy.native.redis import RedisServer
from deploy.native.server import Server, ServerError
from deploy.native.weaviate import WeaviateServer
from memrelay.embedded.ports import free_port
from memrelay.types import Space
from tests.oracle import (
    CREATED_AT,
    LOCAL_SPACE,
    SOUND,
    Accepted,
    Ledger,
    Operation,
    digest_of,
    fields_of,
    judge,
    scope_of,
)
from tests.servers import cannot_be_had
from tests.service import Service

log = logging.getLogger(__name__)
MODEL = "openai/test-embed"
RETRY_SECONDS = 0.05
REQUEST_SECONDS = 10.0
JOBS_READ = 300
WORDS = (Path(__file__).parent.parent / "memrelay" / "types.py").read_text().split()


def remote_space(options: Mapping[str, Any]) -> Space:
    return Space(MODEL, options["dimensions"])


def wait_until(what: str, condition: Callable[[], bool], seconds: float) -> float:
    """How long it took until ``condition`` held; AssertionError after ``seconds``."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < seconds, f"waited {waited:.1f} s for {what}"
        time.sleep(0.05)
    return time.monotonic() - began


@contextmanager
def redis_servers(directory: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts Redis servers that last as long as this does, for more than one test."""
    with ExitStack() as stack:

        def start(**options: Any) -> RedisServer:
            server = RedisServer(directory / uuid4().hex, free_port(), **options)
            try:
                return stack.enter_context(server)
            except ServerError as error:
                cannot_be_had(str(error))

        yield start


class SqliteFile:
    """A store that is a file. Frozen: somebody holds its write lock. It cannot be killed."""

    name: ClassVar[str] = "sqlite"
    running: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._holder: apsw.Connection | None = None

    def freeze(self) -> None:
        self._holder = apsw.Connection(str(self.path))
        self._holder.set_busy_timeout(5000)
        self._holder.execute("BEGIN IMMEDIATE")

    def thaw(self) -> None:
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.execute("ROLLBACK")
            holder.close()


class Rig:
    """A service with two drivers: ``redis``, the primary, and ``replica``, unless other stores are given.

    Journal (``appendfsync always``), broker and all stores are servers of their own. ``detours`` are
    URLs (of a driver also: settings) by which memrelay reaches some of them, by name; the oracle goes
    straight. ``model`` has the
    options of a remote model, in whose space everything is; otherwise it is the local one. ``env`` has
    more settings of memrelay's.
    """

    def __init__(
        self,
        directory: Path,
        start_redis: Callable[..., RedisServer],
        *,
        stores: Mapping[str, Server | SqliteFile] | None = None,
        broker: Server | None = None,
        journal: RedisServer | None = None,
        detours: Mapping[str, str | Mapping[str, Any]] | None = None,
        model: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._model = model
        self._more_env = env or {}
        self._detours = detours or {}
        self.scope = scope_of(LOCAL_SPACE if model is None else remote_space(model))
        self.journal = journal or start_redis(appendfsync="always")
        self.broker = broker or start_redis()
        self.stores = dict(stores or {"redis": start_redis(), "replica": start_redis()})
        self.directory = directory
        self.ledger = Ledger(directory / "ledger.ndjson")
        self.service = Service(self.env(), directory / "service")
        self.crashes: Counter[str] = Counter()
        """Servers that died by themselves."""
        self._down: set[str] = set()
        self._locks = {name: threading.Lock() for name in self.servers}
        self._others: list[Service] = []
        self._writers: list[Writer] = []
        self._journal_client: Any = redis.Redis.from_url(self.journal.url, socket_timeout=30)

    @property
    def servers(self) -> dict[str, Server]:
        """Everything that can be killed, by name."""
        servers = {n: store for n, store in self.stores.items() if isinstance(store, Server)}
        return {"journal": self.journal, "broker": self.broker, **servers}

    def env(self) -> dict[str, str]:
        source = {"drivers": list(self.stores), "embedding": self.scope.space.model}
        drivers = {name: self.settings(name) for name in self.stores}
        for name in self._detours.keys() & drivers.keys():
            detour = self._detours[name]
            drivers[name] |= {"url": detour} if isinstance(detour, str) else detour
        return {
            "MEMRELAY_BROKER_URL": str(self._detours.get("broker", self.broker.url)),
            "MEMRELAY_JOURNAL_URL": str(self._detours.get("journal", self.journal.url)),
            "MEMRELAY_DURABILITY": "fsync",
            "MEMRELAY_DRIVERS": json.dumps(drivers),
            "MEMRELAY_SOURCES": json.dumps({"default": source}),
            "MEMRELAY_MODELS": json.dumps({} if self._model is None else {MODEL: self._model}),
            **self._more_env,
        }

    def settings(self, store: str) -> dict[str, Any]:
        """Of one driver, with its type."""
        server = self.stores[store]
        if isinstance(server, SqliteFile):
            return {"type": server.name, "path": str(server.path)}
        settings: dict[str, Any] = {"type": server.name, "url": server.url}
        if isinstance(server, WeaviateServer):
            settings["grpc_port"] = server.grpc_port
        return settings

    def start(self) -> Self:
        self.service.start()
        return self

    def another(self, **changes: str) -> Service:
        """One more service on the same servers, not started; ``changes`` of its environment."""
        port = {"MEMRELAY_PORT": str(free_port())}
        env = self.service.env | port | changes
        other = Service(env, self.directory / f"service-{len(self._others) + 2}")
        self._others.append(other)
        return other

    def another_worker(self, **changes: str) -> Service:
        """One more worker, started; it has no API."""
        other = self.another(**changes)
        other.start_worker()
        return other

    def writer(
        self, *others: Service, namespace: str = NAMESPACE, patience: float = 60.0
    ) -> Writer:
        """One more client, of the first API and of those of ``others``."""
        urls = [service.url for service in (self.service, *others)]
        writer = Writer(urls, self.ledger, namespace=namespace, patience=patience)
        self._writers.append(writer)
        return writer

    def close(self) -> None:
        for writer in self._writers:
            writer.close()
        self.ledger.close()
        self._journal_client.close()
        for service in (self.service, *self._others):
            service.kill_api()
            service.kill_worker()

    def kill(self, name: str) -> None:
        with self._locks[name]:
            self._down.add(name)
            self.servers[name].kill()

    def revive(self, name: str) -> None:
        with self._locks[name]:
            self.servers[name].start()
            self._down.discard(name)

    def freeze(self, name: str) -> None:
        """The server hangs, or the file is locked, until ``thaw``."""
        store = self.stores.get(name)
        if isinstance(store, SqliteFile):
            store.freeze()
            return
        with self._locks[name]:
            self.servers[name].start()  # nothing to do, unless it died by itself just now
            self.servers[name].freeze()

    def thaw(self, name: str) -> None:
        store = self.stores.get(name)
        if isinstance(store, SqliteFile):
            store.thaw()
        else:
            self.servers[name].thaw()

    def supervise(self) -> None:
        """As systemd would. Redis 8.10.2 crashes by itself once in some 100,000 updates and deletes
        of vectors in small sets (redis#15424), and nothing is lost by that."""
        for name, server in self.servers.items():
            with self._locks[name]:
                if name not in self._down and not server.running:
                    log.warning("%s died by itself and is started again", name)
                    self.crashes[name] += 1
                    server.start()

    def due(self) -> set[bytes]:
        """The stages that have not ended, as the journal names them."""
        self.supervise()
        return set(self._journal_client.zrange(f"{PREFIX}due", 0, -1))

    def leased(self) -> int:
        """How many envelopes are in the hands of workers."""
        stages = [member.decode().split("/", 1) for member in self.due()]
        with self._journal_client.pipeline(transaction=False) as pipe:
            for eid, queue in stages:
                pipe.hget(f"{PREFIX}e:{eid}", f"s:{queue}")
            states: list[bytes | None] = pipe.execute()
        return states.count(b"l")

    def wait_drained(self, seconds: float) -> float:
        """Until nothing is in flight; how long that took."""
        return wait_until("everything to be stored", lambda: not self.due(), seconds)

    def canceled(self, namespace: str = NAMESPACE) -> set[int]:
        """The versions that were canceled, as the journal tells."""
        found = self._journal_client.zrange(f"{PREFIX}canceled:{namespace}|default", 0, -1)
        ranges = [tuple(map(int, item.split(b":"))) for item in found]
        return {version for first, count in ranges for version in range(first, first + count)}

    def entered(self, namespace: str = NAMESPACE) -> int:
        """How many writes the journal has taken in."""
        eids = self._journal_client.zrange(f"{PREFIX}envs:{namespace}", 0, -1)
        with self._journal_client.pipeline(transaction=False) as pipe:
            for eid in eids:
                pipe.hget(f"{PREFIX}e:{eid.decode()}", "n")
            return sum(map(int, pipe.execute()))

    def dead_letters(self, namespace: str = NAMESPACE) -> dict[int, dict[str, str]]:
        """What was given up, by version."""
        versions = self._journal_client.zrange(f"{PREFIX}dls:{namespace}", 0, -1)
        texts = ("id", "stage", "code", "drivers", "attempts")
        rows = [self._journal_client.hmget(f"{PREFIX}dl:{int(v)}", texts) for v in versions]
        return {
            int(version): dict(zip(texts, (value.decode() for value in row), strict=True))
            for version, row in zip(versions, rows, strict=True)
        }

    def shuffle_waiting(self, queue: str, chance: random.Random) -> int:
        """What waits in ``queue`` will be taken in another order; how many envelopes that were."""
        key = f"{PREFIX}w:{queue}:{NAMESPACE}"
        eids = self._journal_client.lrange(key, 0, -1)
        chance.shuffle(eids)
        with self._journal_client.pipeline(transaction=True) as pipe:
            pipe.delete(key)
            pipe.rpush(key, *eids)
            pipe.execute()
        return len(eids)

    def assert_sound(self) -> None:
        """Nothing is in flight; what was entered is what was acknowledged, once; every store agrees
        with the ledger; every job (of many, some) says ``stored``."""
        assert self.due() == set()
        assert self.ledger.lines, "nothing was accepted: the test shows nothing"
        assert self.entered() == len(self.ledger.lines)
        for store in self.stores:
            assert judge(self.ledger, self.settings(store), self.scope) == SOUND, store
        jobs = sorted(self.ledger.jobs())
        with httpx.Client(base_url=self.service.url, timeout=REQUEST_SECONDS) as client:
            for job in random.Random(len(jobs)).sample(jobs, min(len(jobs), JOBS_READ)):
                view = client.get(f"/v1/jobs/{job}").json()
                assert view.get("status") == "stored", (job, view)


def memory(id: str, text: str) -> dict[str, Any]:
    """A memory as a client sends it."""
    return {"id": id, "text": text, "created_at": CREATED_AT}


class Writer:
    """One client: repeats a write under its key until it is accepted, then notes it in the ledger."""

    def __init__(
        self,
        urls: Sequence[str],
        ledger: Ledger,
        *,
        namespace: str = NAMESPACE,
        patience: float = 60.0,
    ) -> None:
        self.http = httpx.Client(timeout=REQUEST_SECONDS)
        self.refusals: list[tuple[int, float, httpx.Headers]] = []
        """(status, seconds it took, headers) of every answer that was no acceptance."""
        self.broken = 0
        """Requests that got no answer."""
        self._urls = list(urls)
        self._ledger = ledger
        self._namespace = namespace
        self._patience = patience

    def close(self) -> None:
        self.http.close()

    def put(
        self,
        memories: Sequence[Mapping[str, Any]],
        *,
        key: str = "",
        lane: str = "interactive",
        **params: str,
    ) -> dict[str, Any]:
        """The answer that acknowledged them. ``key``: not one of our own; ``params`` of the query."""
        body = {"memories": list(memories), "lane": lane}
        answer = self.send("/v1/memories", body, key=key, **params)
        digests = [digest_of(memory) for memory in memories]
        self._note(answer, "put", digests, [fields_of(memory) for memory in memories])
        return answer

    def delete(self, ids: Sequence[str]) -> dict[str, Any]:
        answer = self.send("/v1/memories/delete", {"ids": list(ids)})
        self._note(answer, "drop", [None] * len(ids), [()] * len(ids))
        return answer

    def delete_where(self, field: str, value: str) -> dict[str, Any]:
        """Delete by ``user_id``, or by a filter on ``tags`` or a field of metadata."""
        by_user = field == "user_id"
        selection = {"user_id": value} if by_user else {"filter": {field: {"$contains": value}}}
        answer = self.send("/v1/memories/delete", selection)
        told = answer | {"memories": [{"id": "", "version": answer["version"]}]}
        self._note(told, "drop_where", [None], [((field, value),)])
        return answer

    def send(self, path: str, body: Any, *, key: str = "", **params: str) -> dict[str, Any]:
        """The answer that accepted it, at last; nothing is noted."""
        headers = {"Idempotency-Key": key or uuid4().hex}
        until = time.monotonic() + self._patience
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                answer = self.http.post(
                    self._urls[0] + path, json=body, params=params, headers=headers
                )
            except httpx.TransportError:
                self.broken += 1
                self._urls.append(self._urls.pop(0))
            else:
                if answer.status_code in (200, 202):
                    accepted: dict[str, Any] = answer.json()
                    return accepted
                took = time.monotonic() - began
                self.refusals.append((answer.status_code, took, answer.headers))
                assert answer.status_code in (429, 503), answer.text
            time.sleep(RETRY_SECONDS)
        raise AssertionError(f"not accepted in {self._patience:g} s: {self.refusals[-3:]}")

    def _note(
        self,
        answer: Mapping[str, Any],
        operation: Operation,
        digests: Sequence[str | None],
        fields: Sequence[tuple[tuple[str, str], ...]],
    ) -> None:
        job = answer["job"]["id"]
        told = zip(answer["memories"], digests, fields, strict=True)
        self._ledger.note(
            [
                Accepted(
                    m["id"] or "", m["version"], digest, job, operation, pairs, self._namespace
                )
                for m, digest, pairs in told
            ]
        )


class Load:
    """Writers in threads, from ``with`` to its end: new memories, newer versions of old ones, deletes.

    ``deletes`` is the share of these.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        seed: int,
        writers: int = 6,
        ids: int = 600,
        pause: float = 0.02,
        deletes: float = 0.1,
    ) -> None:
        self.writers = [rig.writer() for _ in range(writers)]
        self._ids = ids
        self._pause = pause
        self._deletes = deletes
        self._stopped = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(writer, random.Random(seed + number)))
            for number, writer in enumerate(self.writers)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    @property
    def statuses(self) -> Counter[int]:
        """Of all answers that were no acceptance."""
        return Counter(status for writer in self.writers for status, _, _ in writer.refusals)

    @property
    def broken(self) -> int:
        """Requests that got no answer."""
        return sum(writer.broken for writer in self.writers)

    def _run(self, writer: Writer, chance: random.Random) -> None:
        try:
            while not self._stopped.is_set():
                ids = chance.sample(range(self._ids), chance.randint(1, 12))
                if chance.random() < self._deletes:
                    writer.delete([f"m{id}" for id in ids])
                else:
                    texts = [" ".join(chance.choices(WORDS, k=20)) for _ in ids]
                    writer.put([memory(f"m{i}", t) for i, t in zip(ids, texts, strict=True)])
                self._stopped.wait(self._pause)
        except BaseException as error:
            self._errors.append(error)


def wipe(server: Server) -> None:
    """Remove the data of a Redis or RabbitMQ that does not run."""
    assert not server.running
    [data] = [
        path for name in ("appendonlydir", "data") if (path := server.directory / name).exists()
    ]
    shutil.rmtree(data)
