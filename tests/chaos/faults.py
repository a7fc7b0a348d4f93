"""What each kind of fault does to a rig, and how it ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from deploy.native.rabbitmq import RabbitMQServer
from deploy.native.toxiproxy import Kind as ToxicKind
from deploy.native.toxiproxy import Stream
from tests.chaos.ground import Ground
from tests.chaos.plan import Fault, Kind
from tests.rig import Rig, SqliteFile, wipe
from tests.service import Service, ServiceError

START_AGAIN_SECONDS = 60.0
FLAPS = (4, 0.3)
"""How often a store goes, and for how many seconds it is down and up in turn."""
MANY_FLAPS = (60, 5.0)


class Fleet:
    """The APIs and the workers of a campaign, by name. Someone starts again what exits by itself."""

    def __init__(self, rig: Rig, apis: int, workers: int, others: Sequence[Service]) -> None:
        """``others`` have an API of other settings."""
        services = [rig.service, *(rig.another() for _ in range(max(apis, workers) - 1))]
        self.apis = {
            f"api-{n}": service for n, service in enumerate([*services[:apis], *others], 1)
        }
        self.workers = {f"worker-{n}": service for n, service in enumerate(services[:workers], 1)}
        self.exits = 0
        """Processes that ended by themselves: they may, where the journal is away when they start."""

    def start(self) -> None:
        for service in self.workers.values():
            service.start_worker()
        for service in self.apis.values():
            service.start_api()

    def start_api(self, service: Service) -> None:
        """As a supervisor would: again and again."""
        until = time.monotonic() + START_AGAIN_SECONDS
        while True:
            try:
                return service.start_api()
            except ServiceError:
                self.exits += 1
                service.kill_api()
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def start_worker(self, service: Service) -> None:
        """Running on return, and not gone within a moment."""
        until = time.monotonic() + START_AGAIN_SECONDS
        while True:
            service.start_worker()
            time.sleep(2.0)
            if service.worker_running:
                return
            self.exits += 1
            if time.monotonic() > until:
                raise ServiceError(f"the worker does not stay:\n{service.logs}")


def kinds_of(ground: Ground, fleet: Fleet) -> list[Kind]:
    """What can go wrong on this ground."""
    rig = ground.rig
    workers, apis = tuple(fleet.workers), tuple(fleet.apis)
    servers = tuple(name for name in rig.stores if name in rig.servers)
    files = tuple(name for name in rig.stores if name not in rig.servers)
    kinds = [
        Kind("worker killed", workers, (0.0, 1.0), weight=3, rest=3),
        Kind("worker's parent killed", workers, (0.0, 1.0), rest=3),
        Kind("worker's child killed", workers, (0.0, 0.0), weight=3, rest=1),
        Kind("worker frozen", workers, (7.0, 12.0), weight=1.5),
        Kind("worker stopped warmly", workers, (0.0, 0.5), weight=1.5, rest=3),
        Kind("API killed", apis, (0.0, 1.0), weight=2, rest=3, blocks="apis"),
        Kind("API frozen", apis, (0.5, 3.0), blocks="apis"),
        Kind("broker killed", ("broker",), (0.2, 2.0), weight=3),
        Kind("broker frozen", ("broker",), (0.5, 6.0), weight=2),
        Kind("journal killed", ("journal",), (0.0, 1.0), weight=3, rest=2),
        Kind("journal frozen", ("journal",), (0.5, 8.0), weight=1.5, rest=2),
        Kind("store killed", servers, (0.2, 3.0), weight=4, rest=3, blocks="stores"),
        Kind("store frozen", servers, (0.5, 5.0), weight=3, rest=2, blocks="stores"),
        Kind("store flapping", servers, (1.0, 1.0), rest=8, blocks="stores"),
        Kind("all stores killed", ("stores",), (0.5, 3.0), weight=0.7, rest=4, blocks="stores"),
        Kind("broker wiped", ("broker",), (0.2, 1.0)),
    ]
    if files:
        kinds.append(Kind("file locked", files, (0.5, 5.0), rest=2, blocks="stores"))
    if isinstance(rig.broker, RabbitMQServer):
        kinds.append(Kind("broker's alarm", ("broker",), (0.5, 4.0)))
    if ground.detach:
        kinds.append(Kind("store away", servers, (12.0, 20.0), weight=3, rest=10, blocks="stores"))
    for name in TOXICS if ground.links else ():
        kinds.append(Kind(name, tuple(ground.links), (1.0, 8.0), blocks="links"))
    return kinds


def long_faults(rig: Rig, fleet: Fleet) -> list[Fault]:
    """A store is away for ten minutes while the next one comes and goes and workers hang for two."""
    away, flapping = [name for name in rig.stores if name in rig.servers][:2]
    first, second = fleet.workers
    return [
        Fault(5.0, "store away for 10 minutes", away, 600.0, lane=away),
        Fault(15.0, "store flapping 60 times", flapping, 5.0, lane=flapping),
        Fault(60.0, "worker frozen for 2 minutes", first, 120.0, lane=first),
        Fault(330.0, "worker frozen for 2 minutes", second, 120.0, lane=second),
    ]


@dataclass(frozen=True, slots=True)
class Toxic:
    """What a proxy does to the answers of a server, or to what it is sent (``upstream``)."""

    kind: ToxicKind
    attributes: Mapping[str, int]
    stream: Stream = "downstream"


TOXICS = {
    "link slow": Toxic("latency", {"latency": 300, "jitter": 300}),
    "link cut": Toxic("reset_peer", {"timeout": 0}),
    "link cut after some bytes": Toxic("limit_data", {"bytes": 2000}),
    "link sliced": Toxic("slicer", {"average_size": 100, "size_variation": 50, "delay": 20}),
    "answers swallowed": Toxic("timeout", {"timeout": 0}),
    "requests swallowed": Toxic("timeout", {"timeout": 0}, "upstream"),
}


type Begin = Callable[[str], None]
type Pair = tuple[Begin, Begin]


class Injector:
    """Begins and ends faults; each kind by its name."""

    def __init__(self, ground: Ground, fleet: Fleet) -> None:
        rig = self._rig = ground.rig
        self._links = ground.links
        self._fleet = fleet
        self.kinds: Mapping[str, Pair] = {
            "worker killed": (lambda t: self._worker(t).kill_worker(), self._start_worker),
            "worker's parent killed": (
                lambda t: self._worker(t).kill_worker_parent(),
                self._start_worker,
            ),
            "worker's child killed": (self._kill_child, _nothing),
            "worker frozen": (self._freeze_worker, self._thaw_worker),
            "worker frozen for 2 minutes": (self._freeze_worker, self._thaw_worker),
            "worker stopped warmly": (lambda t: self._worker(t).stop_worker(), self._start_worker),
            "API killed": (lambda t: fleet.apis[t].kill_api(), self._start_api),
            "API frozen": (lambda t: self._signal_api(t, signal.SIGSTOP), self._thaw_api),
            "broker killed": (rig.kill, rig.revive),
            "broker frozen": (rig.freeze, rig.thaw),
            "broker wiped": (self._wipe, rig.revive),
            "journal killed": (rig.kill, rig.revive),
            "journal frozen": (rig.freeze, rig.thaw),
            "store killed": (rig.kill, rig.revive),
            "store frozen": (rig.freeze, rig.thaw),
            "store flapping": (partial(self._flap, *FLAPS), rig.revive),
            "store flapping 60 times": (partial(self._flap, *MANY_FLAPS), rig.revive),
            "store away": (rig.kill, rig.revive),
            "store away for 10 minutes": (rig.kill, rig.revive),
            "all stores killed": (self._kill_stores, self._revive_stores),
            "file locked": (rig.freeze, rig.thaw),
            "broker's alarm": (self._raise_alarm, self._lift_alarm),
        } | {
            name: (partial(self._harm, toxic), partial(self._spare, toxic))
            for name, toxic in TOXICS.items()
        }

    def begin(self, kind: str, target: str) -> None:
        self.kinds[kind][0](target)

    def end(self, kind: str, target: str) -> None:
        self.kinds[kind][1](target)

    def _worker(self, target: str) -> Service:
        return self._fleet.workers[target]

    def _start_worker(self, target: str) -> None:
        self._fleet.start_worker(self._worker(target))

    def _start_api(self, target: str) -> None:
        self._fleet.start_api(self._fleet.apis[target])

    def _kill_child(self, target: str) -> None:
        for child in self._worker(target).worker_children[:2]:  # one of each lane
            os.kill(child, signal.SIGKILL)

    def _freeze_worker(self, target: str) -> None:
        os.killpg(self._worker(target).worker_pid, signal.SIGSTOP)

    def _thaw_worker(self, target: str) -> None:
        os.killpg(self._worker(target).worker_pid, signal.SIGCONT)

    def _signal_api(self, target: str, what: signal.Signals) -> None:
        os.kill(self._fleet.apis[target].api_pid, what)

    def _thaw_api(self, target: str) -> None:
        self._signal_api(target, signal.SIGCONT)

    def _wipe(self, target: str) -> None:
        self._rig.kill(target)
        wipe(self._rig.broker)

    def _raise_alarm(self, _: str) -> None:
        assert isinstance(self._rig.broker, RabbitMQServer)
        self._rig.broker.raise_alarm()

    def _lift_alarm(self, _: str) -> None:
        assert isinstance(self._rig.broker, RabbitMQServer)
        self._rig.broker.lift_alarm()

    def _harm(self, toxic: Toxic, target: str) -> None:
        for proxy in self._links[target]:
            proxy.add(toxic.kind, stream=toxic.stream, **toxic.attributes)

    def _spare(self, toxic: Toxic, target: str) -> None:
        for proxy in self._links[target]:
            proxy.remove(f"{toxic.kind}_{toxic.stream}")

    def _flap(self, times: int, seconds: float, target: str) -> None:
        """``times``, with ``seconds`` down and up in turn; down in the end."""
        for _ in range(times - 1):
            self._rig.kill(target)
            time.sleep(seconds)
            self._rig.revive(target)
            time.sleep(seconds)
        self._rig.kill(target)

    def _kill_stores(self, _: str) -> None:
        for name, store in self._rig.stores.items():
            if isinstance(store, SqliteFile):
                store.freeze()
            else:
                self._rig.kill(name)

    def _revive_stores(self, _: str) -> None:
        for name, store in self._rig.stores.items():
            if isinstance(store, SqliteFile):
                store.thaw()
            else:
                self._rig.revive(name)


def _nothing(_: str) -> None:
    """It ends by itself."""
