"""Lanes: one Celery worker for single writes, and one, at lower priority, for everything else.

A bulk import never delays a chat agent's single write: prefetched messages and busy children of one
Celery worker would, so each lane has its own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from memrelay.embedded.leash import tie
from memrelay.errors import ConfigError
from memrelay.jobs import deliver_queue, queue_names
from memrelay.settings import Settings
from memrelay.types import LANES, Lane

STOPPED_BY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def fork_lanes() -> Lane:
    """Returns in a process of its own for each lane, never in this one, which watches over them.

    SIGTERM, SIGINT and SIGHUP stop both warmly, SIGQUIT cold. When one ends by itself the other is
    stopped, and the exit status is that of the first. They get SIGTERM when this process dies.
    """
    parent = os.getpid()
    lanes: dict[int, Lane] = {}
    for lane in LANES:
        pid = os.fork()
        if pid == 0:
            tie(parent)
            return lane
        lanes[pid] = lane
    sys.exit(_watch(lanes))


def _watch(lanes: dict[int, Lane]) -> int:
    """The exit status of the lane that ends first, once all have ended."""

    def stop(number: int, _: FrameType | None) -> None:
        # Not SIGINT again: a terminal has sent it to them too, and twice it would be a cold shutdown.
        _signal(lanes, signal.SIGQUIT if number == signal.SIGQUIT else signal.SIGTERM)

    for number in (*STOPPED_BY, signal.SIGQUIT):
        signal.signal(number, stop)
    statuses = []
    while lanes:
        pid, status = os.wait()
        if lanes.pop(pid, None) is not None:
            statuses.append(os.waitstatus_to_exitcode(status))
            _signal(lanes, signal.SIGTERM)
    return statuses[0] if statuses[0] >= 0 else 128 - statuses[0]


def _signal(pids: dict[int, Lane], number: signal.Signals) -> None:
    for pid in list(pids):
        os.kill(pid, number)


def celery_arguments(lane: Lane, settings: Settings) -> Sequence[str]:
    """Of this lane's Celery worker: its name, queues and number of children."""
    interactive = deliver_queue("interactive")
    if lane == "interactive":
        return _arguments(lane, [interactive], settings.interactive_concurrency)
    queues = [name for name in queue_names(settings.driver_names) if name != interactive]
    return _arguments(lane, queues, settings.worker_concurrency)


def queue_arguments(queues: Sequence[str], settings: Settings) -> Sequence[str]:
    """Of a Celery worker for these queues alone; ``ConfigError`` if one is none of this installation."""
    known = queue_names(settings.driver_names)
    for queue in queues:
        if queue not in known:
            raise ConfigError(
                f"--queues: there is no queue {queue!r}; there are: {', '.join(known)}"
            )
    return _arguments(queues[0], queues, settings.worker_concurrency)


def _arguments(name: str, queues: Sequence[str], children: int) -> Sequence[str]:
    quiet = ["--without-mingle", "--without-gossip"]  # a second at every start, for nothing of ours
    return ["-n", f"{name}@%h", "-Q", ",".join(queues), "-c", str(children), *quiet]


def give_way(lane: Lane, settings: Settings) -> None:
    """The bulk lane leaves the CPU to others who want it; its children inherit that."""
    if lane == "bulk":
        os.nice(settings.bulk_niceness)
