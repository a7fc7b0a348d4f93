"""One campaign: load, faults, quiescence, judgement."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from api.state import NAMESPACE
from deploy.native.server import ServerError
from memrelay.times import now_us
from memrelay.types import Memory, Scope, Upsert, vector_to_bytes
from tests.chaos.due import Due
from tests.chaos.faults import Fleet, Injector, kinds_of, long_faults
from tests.chaos.ground import Ground
from tests.chaos.load import Pace, Traffic
from tests.chaos.plan import Fault, plan
from tests.chaos.watch import FOREIGN, Searchers
from tests.oracle import LOCAL_SPACE, place
from tests.rig import Rig, Writer, memory, wait_until
from tests.service import Service, ServiceError

log = logging.getLogger("chaos")
WATCH_SECONDS = 0.25
LOG_SECONDS = 2.0
WRITER_PATIENCE = 180.0
KILLED_AT_START = "Could not start worker processes"
"""Celery gives up when a child of its pool is killed before it has begun to work."""
NO_JOURNAL = "memrelay worker: journal"
"""What a worker says last that finds no journal when it starts."""
TENANT = "tenant"
"""A second namespace, in which ids, users and tags are the same, on an API of its own."""
TENANT_SHARE = 0.25
EXPIRED_SECONDS = 30.0
"""Within which what has expired is a tombstone everywhere."""
FOREIGN_MEMORIES = 200
WARM_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault as it was. Times are monotonic seconds; from ``ended`` on it was put right, at ``back`` all
    ran again. ``drained``: from ``ended`` until what was in flight was stored, None if nobody saw it."""

    kind: str
    target: str
    began: float
    ended: float
    back: float
    drained: float | None = None


@dataclass(slots=True)
class _Waiting:
    fault: Injected
    in_flight: set[bytes]


@dataclass(slots=True)
class Run:
    """What happened, for the judgement."""

    faults: list[Injected] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Faults that could not be injected or ended, and processes that died unasked."""
    drained_seconds: float = -1.0
    """After the last fault and the last write; below 0 if it was given up."""
    left: set[bytes] = field(default_factory=set)
    """Stages that had not ended then."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Tenant:
    """One namespace: who writes to it and who searches it, over these APIs."""

    namespace: str
    apis: Sequence[Service]
    traffic: Traffic
    searchers: Searchers


class Campaign:
    """The rig is not started yet; ``run`` starts it and leaves it drained, all servers up."""

    def __init__(
        self,
        ground: Ground,
        *,
        seed: int,
        seconds: float,
        pace: Pace,
        gap: tuple[float, float] | None,
    ) -> None:
        """``gap``: seconds from one fault to the next, from and to; None: a few that last long."""
        rig = self.rig = ground.rig
        self.fleet = Fleet(rig, apis=2, workers=2, others=[rig.another(MEMRELAY_NAMESPACE=TENANT)])
        self.seed = seed
        self.seconds = seconds
        self.record = Run()
        self.due = Due(rig.journal.url)
        self.tenants = self._tenants(pace)
        self._plan = (
            long_faults(rig, self.fleet)
            if gap is None
            else plan(seed, seconds, kinds_of(ground, self.fleet), gap)
        )
        self._injector = Injector(ground, self.fleet)
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._lanes: dict[str, ThreadPoolExecutor] = {}
        """One thread for each thing that can go wrong: it lives until the end, as what it starts must."""

    def run(self, drain_seconds: float) -> None:
        """Everything but the judgement. The threads and servers are up until ``close``."""
        self.fleet.start()
        self._warm()
        _place_foreign(self.rig)
        watcher = threading.Thread(target=self._watch, name="watcher")
        began = time.monotonic()
        watcher.start()
        for tenant in self.tenants:
            tenant.traffic.start()
            tenant.searchers.start()
        try:
            self._inject(began)
        finally:
            for tenant in self.tenants:
                tenant.traffic.stop()
            self._drain(drain_seconds)
            for tenant in self.tenants:
                tenant.searchers.stop()
            self._over.set()
            watcher.join()
            self.record.faults += [one.fault for one in self._waiting]
        self.record.seconds = time.monotonic() - began
        self._let_expire()

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.shutdown()
        for tenant in self.tenants:
            for writer in tenant.traffic.writers:
                writer.close()
        self.due.close()

    def _tenants(self, pace: Pace) -> list[Tenant]:
        *own, other = self.fleet.apis.values()
        least = max(1, round(pace.writers * TENANT_SHARE))
        small = Pace(writers=least, rate=pace.rate * least / pace.writers)
        large = Pace(writers=pace.writers - least, rate=pace.rate - small.rate)
        return [self._tenant(NAMESPACE, own, large), self._tenant(TENANT, [other], small)]

    def _tenant(self, namespace: str, apis: Sequence[Service], pace: Pace) -> Tenant:
        urls = [service.url for service in apis]
        writers = [
            Writer(urls, self.rig.ledger, namespace=namespace, patience=WRITER_PATIENCE)
            for _ in range(pace.writers)
        ]
        traffic = Traffic(writers, self.seed, pace, canary=namespace)
        return Tenant(
            namespace, apis, traffic, Searchers(urls, traffic, seed=self.seed, count=len(apis))
        )

    def _let_expire(self) -> None:
        """What has expired becomes a tombstone; then there is nothing left to happen."""
        last = max((at for t in self.tenants for at in t.traffic.expiring.values()), default=0)
        if last:
            time.sleep(max(0.0, (last - now_us()) / 1e6) + EXPIRED_SECONDS)

    def _warm(self) -> None:
        """Every worker has done something: the first faults meet a service at work."""
        writer = self.rig.writer()
        writer.put([_warm_memory()])
        self.rig.wait_drained(WARM_SECONDS)

    def _inject(self, began: float) -> None:
        futures: list[Future[None]] = []
        for fault in self._plan:
            time.sleep(max(0.0, began + fault.at - time.monotonic()))
            futures.append(self._lane(fault.lane).submit(self._commit, fault))
        time.sleep(max(0.0, began + self.seconds - time.monotonic()))
        for future in futures:
            future.result()

    def _lane(self, name: str) -> ThreadPoolExecutor:
        with self._lock:
            if name not in self._lanes:
                self._lanes[name] = ThreadPoolExecutor(1, thread_name_prefix=name)
            return self._lanes[name]

    def _commit(self, fault: Fault) -> None:
        """One fault, from its beginning to its end."""
        began = time.monotonic()
        try:
            self._injector.begin(fault.kind, fault.target)
            time.sleep(fault.seconds)
            ended = time.monotonic()
            self._injector.end(fault.kind, fault.target)
        except (ServerError, ServiceError, OSError, AssertionError) as error:
            log.exception("%s of %s", fault.kind, fault.target)
            self._fail(f"{fault.kind} of {fault.target}: {type(error).__name__}: {error}")
            return
        log.info("%6.1f s  %s: %s, %.1f s", fault.at, fault.target, fault.kind, ended - began)
        injected = Injected(fault.kind, fault.target, began, ended, time.monotonic())
        in_flight = self._in_flight()
        with self._lock:
            if in_flight is None:
                self.record.faults.append(injected)
            else:
                self._waiting.append(_Waiting(injected, in_flight))

    def _fail(self, what: str) -> None:
        with self._lock:
            self.record.failures.append(what)

    def _in_flight(self) -> set[bytes] | None:
        """None while the journal is away: then nothing can be said."""
        try:
            return self.rig.due()
        except (OSError, redis.RedisError):
            return None

    def _watch(self) -> None:
        """Supervises, and sees when what was in flight at the end of a fault has ended."""
        logged = 0.0
        while not self._over.wait(WATCH_SECONDS):
            if time.monotonic() - logged > LOG_SECONDS:
                logged = time.monotonic()
                self._log_due()
            self._look_at(self._in_flight())
            for name, service in self.fleet.workers.items():
                self._lane(name).submit(self._keep_worker, name, service)

    def _look_at(self, due: set[bytes] | None) -> None:
        now = time.monotonic()
        with self._lock:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.in_flight &= one.in_flight if due is None else due
                if one.in_flight:
                    self._waiting.append(one)
                else:
                    drained = now - one.fault.ended
                    self.record.faults.append(replace(one.fault, drained=drained))

    def _log_due(self) -> None:
        with contextlib.suppress(redis.RedisError):
            log.info("in flight: %s", self.due.told())

    def _keep_worker(self, name: str, service: Any) -> None:
        """On the worker's own lane, so between its faults: a worker that is gone now died by itself."""
        if not service.worker_running:
            logs = service.logs
            if KILLED_AT_START in logs:
                self.record.faults.append(_at_start(name))
            elif logs.rpartition("\n")[2].startswith(NO_JOURNAL):
                self.fleet.exits += 1
            else:
                self._fail(f"{name} died by itself: {logs[-1500:]}")
            self.fleet.start_worker(service)

    def _drain(self, seconds: float) -> None:
        try:
            self.record.drained_seconds = wait_until(
                "everything to be stored",
                lambda: not self._left() and self.due.serving(),
                seconds,
            )
        except AssertionError:
            log.error("not drained after %g s: %d stages left", seconds, len(self.record.left))

    def _left(self) -> set[bytes]:
        self.record.left = self.rig.due()
        return self.record.left


def _at_start(name: str) -> Injected:
    now = time.monotonic()
    return Injected("worker gave up as its child was killed at once", name, now, now, now)


def _warm_memory() -> dict[str, Any]:
    return memory("warm", f"{NAMESPACE} the workers are ready")


def foreign_scope() -> Scope:
    return Scope(namespace=FOREIGN, source="default", space=LOCAL_SPACE)


def _place_foreign(rig: Rig) -> None:
    """Another tenant's memories in every store, of the same users; no search of ours may find them."""
    vector = vector_to_bytes([1.0] * LOCAL_SPACE.dimensions)
    now = now_us()
    ops = [
        Upsert(
            Memory(
                id=f"{FOREIGN}-{n}",
                text="memory version driver search vector filter",  # words of those who search
                user_id=f"user-{n % 40}",
                created_at=now,
                version=now + n,
            ),
            vector,
        )
        for n in range(FOREIGN_MEMORIES)
    ]
    for name in rig.stores:
        place(rig.settings(name), foreign_scope(), ops)


def kinds_count(faults: Sequence[Injected], crashes: Mapping[str, int]) -> dict[str, int]:
    """How many of each kind; crashes of the servers' own are faults too."""
    counts = Counter(fault.kind for fault in faults)
    for name, times in crashes.items():
        counts[f"{name} crashed by itself"] += times
    return dict(sorted(counts.items()))


def drains(faults: Sequence[Injected]) -> dict[str, tuple[float, float]]:
    """Of each kind of fault: how long what was in flight at its end took, median and longest."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for fault in faults:
        if fault.drained is not None:
            seconds[fault.kind].append(fault.drained)
    return {
        kind: (round(sorted(all)[len(all) // 2], 1), round(max(all), 1))
        for kind, all in sorted(seconds.items())
    }
