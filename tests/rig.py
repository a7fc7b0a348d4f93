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
from typing import Any, Self
from uuid import uuid4

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
    digest_of,
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


class Rig:
    """A service with two drivers: ``redis``, the primary, and ``replica``, unless other stores are given.

    Journal (``appendfsync always``), broker and all stores are servers of their own. ``model`` has
    the options of a remote model, in whose space everything is; otherwise it is the local one.
    """

    def __init__(
        self,
        directory: Path,
        start_redis: Callable[..., RedisServer],
        *,
        stores: Mapping[str, Server] | None = None,
        model: Mapping[str, Any] | None = None,
    ) -> None:
        self._model = model
        self.scope = scope_of(LOCAL_SPACE if model is None else remote_space(model))
        self.journal = start_redis(appendfsync="always")
        self.broker = start_redis()
        self.stores = stores or {"redis": start_redis(), "replica": start_redis()}
        self.directory = directory
        self.ledger = Ledger(directory / "ledger.ndjson")
        self.service = Service(self.env(), directory / "service")
        self._down: set[str] = set()
        self._others: list[Service] = []
        self._writers: list[Writer] = []
        self._journal_client: Any = redis.Redis.from_url(self.journal.url, socket_timeout=5)

    def env(self) -> dict[str, str]:
        source = {"drivers": list(self.stores), "embedding": self.scope.space.model}
        return {
            "MEMRELAY_BROKER_URL": self.broker.url,
            "MEMRELAY_JOURNAL_URL": self.journal.url,
            "MEMRELAY_DURABILITY": "fsync",
            "MEMRELAY_DRIVERS": json.dumps({name: self.settings(name) for name in self.stores}),
            "MEMRELAY_SOURCES": json.dumps({"default": source}),
            "MEMRELAY_MODELS": json.dumps({} if self._model is None else {MODEL: self._model}),
        }

    def settings(self, store: str) -> dict[str, Any]:
        """Of one driver, with its type."""
        server = self.stores[store]
        settings: dict[str, Any] = {"type": server.name, "url": server.url}
        if isinstance(server, WeaviateServer):
            settings["grpc_port"] = server.grpc_port
        return settings

    def start(self) -> Self:
        self.service.start()
        return self

    def another_worker(self) -> Service:
        """One more worker, started; it has no API."""
        other = Service(self.service.env, self.directory / f"worker-{len(self._others)}")
        other.start_worker()
        self._others.append(other)
        return other

    def writer(self) -> Writer:
        """One more client."""
        writer = Writer(self.service.url, self.ledger)
        self._writers.append(writer)
        return writer

    def close(self) -> None:
        for writer in self._writers:
            writer.close()
        self.ledger.close()
        self._journal_client.close()
        for other in self._others:
            other.kill_worker()
        self.service.kill_api()
        self.service.kill_worker()

    def kill(self, store: str) -> None:
        self._down.add(store)
        self.stores[store].kill()

    def revive(self, store: str) -> None:
        self.stores[store].start()
        self._down.discard(store)

    def _supervise(self) -> None:
        """As systemd would. Redis 8.10.2 crashes by itself once in some 100,000 updates and deletes
        of vectors in small sets (redis#15424), and nothing is lost by that."""
        for name, server in self.stores.items():
            if name not in self._down and not server.running:
                log.warning("%s died by itself and is started again", name)
                server.start()

    def due(self) -> set[bytes]:
        """The stages that have not ended, as the journal names them."""
        self._supervise()
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

    def entered(self) -> int:
        """How many writes the journal has taken in."""
        eids = self._journal_client.zrange(f"{PREFIX}envs:{NAMESPACE}", 0, -1)
        with self._journal_client.pipeline(transaction=False) as pipe:
            for eid in eids:
                pipe.hget(f"{PREFIX}e:{eid.decode()}", "n")
            return sum(map(int, pipe.execute()))

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

    def __init__(self, url: str, ledger: Ledger, *, patience: float = 60.0) -> None:
        self.http = httpx.Client(base_url=url, timeout=REQUEST_SECONDS)
        self.refusals: list[tuple[int, float, httpx.Headers]] = []
        """(status, seconds it took, headers) of every answer that was no acceptance."""
        self.broken = 0
        """Requests that got no answer."""
        self._ledger = ledger
        self._patience = patience

    def close(self) -> None:
        self.http.close()

    def put(
        self, memories: Sequence[Mapping[str, Any]], *, key: str = "", **params: str
    ) -> dict[str, Any]:
        """The answer that acknowledged them. ``key``: not one of our own; ``params`` of the query."""
        body = {"memories": list(memories)}
        answer = self._repeat(lambda ours: self._post("/v1/memories", body, key or ours, params))
        self._note(answer, [digest_of(memory) for memory in memories])
        return answer

    def delete(self, ids: Sequence[str]) -> dict[str, Any]:
        body = {"ids": list(ids)}
        answer = self._repeat(lambda key: self._post("/v1/memories/delete", body, key, {}))
        self._note(answer, [None] * len(ids))
        return answer

    def _post(self, path: str, body: Any, key: str, params: Mapping[str, str]) -> httpx.Response:
        return self.http.post(path, json=body, params=params, headers={"Idempotency-Key": key})

    def _repeat(self, attempt: Callable[[str], httpx.Response]) -> dict[str, Any]:
        key = uuid4().hex
        until = time.monotonic() + self._patience
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                answer = attempt(key)
            except httpx.TransportError:
                self.broken += 1
            else:
                if answer.status_code in (200, 202):
                    accepted: dict[str, Any] = answer.json()
                    return accepted
                took = time.monotonic() - began
                self.refusals.append((answer.status_code, took, answer.headers))
                assert answer.status_code == 503, answer.text
            time.sleep(RETRY_SECONDS)
        raise AssertionError(f"not accepted in {self._patience:g} s: {self.refusals[-3:]}")

    def _note(self, answer: Mapping[str, Any], digests: Sequence[str | None]) -> None:
        job = answer["job"]["id"]
        pairs = zip(answer["memories"], digests, strict=True)
        self._ledger.note([Accepted(m["id"], m["version"], digest, job) for m, digest in pairs])


class Load:
    """Writers in threads, from ``with`` to its end: new memories, newer versions of old ones, deletes."""

    def __init__(
        self, rig: Rig, *, seed: int, writers: int = 6, ids: int = 600, pause: float = 0.02
    ) -> None:
        self.writers = [rig.writer() for _ in range(writers)]
        self._ids = ids
        self._pause = pause
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
                if chance.random() < 0.1:
                    writer.delete([f"m{id}" for id in ids])
                else:
                    texts = [" ".join(chance.choices(WORDS, k=20)) for _ in ids]
                    writer.put([memory(f"m{i}", t) for i, t in zip(ids, texts, strict=True)])
                self._stopped.wait(self._pause)
        except BaseException as error:
            self._errors.append(error)


def wipe(server: RedisServer) -> None:
    """Remove the data of a server that does not run."""
    assert not server.running
    shutil.rmtree(server.directory / "appendonlydir")
