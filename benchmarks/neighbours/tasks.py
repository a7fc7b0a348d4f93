"""One Celery task for each memory in two worker processes (``one_task``) against memrelay's two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from celery import Celery

from benchmarks.neighbours.rounds import US, Counter, Rates, memrelay
from benchmarks.stack import ROOT, Stack
from benchmarks.texts import memories

APP = "benchmarks.neighbours.one_task"
QUEUE = "one-task"
PROCESSES = 2
ONE_TASK = "one task a memory"


def measure(stack: Stack, *, counts: dict[str, int], rounds: int) -> dict[str, Any]:
    """Memories a second from the first ``send_task`` until all are in the store; in turn."""
    rates = Rates()
    stack.forget()
    broker = f"{stack.queue.url}/3"
    with (
        _workers(stack, broker),
        Celery(broker=broker) as app,
        stack.service("redis") as service,
        Counter(stack.driver("redis"), "one-task") as theirs,
        Counter(stack.driver("redis")) as ours,
    ):
        _tasks(app, theirs, seed=900, size=300)
        memrelay(service, ours, seed=901, size=2000)
        for number in range(rounds):
            seed = 910 + number
            rates.add(ONE_TASK, _tasks(app, theirs, seed=seed, size=counts[ONE_TASK]))
            rates.add(US, memrelay(service, ours, seed=seed, size=counts[US]))
    return {"memories": counts, "versions": {"celery": version("celery")}, **rates.report()}


def _tasks(app: Celery, counter: Counter, *, seed: int, size: int) -> float:
    rows = memories(size, users=100, seed=seed)
    first = time.time_ns() // 1000
    before = counter.count()
    began = time.perf_counter()
    for index, row in enumerate(rows):
        app.send_task("store", (row, first + index), queue=QUEUE, ignore_result=True)
    while app.connection_for_read().default_channel.client.llen(QUEUE):
        time.sleep(0.02)
    while counter.count() - before < size:
        assert time.perf_counter() - began < 120, f"{counter.count() - before} of {size} stored"
        time.sleep(0.02)
    return size / (time.perf_counter() - began)


@contextmanager
def _workers(stack: Stack, broker: str) -> Iterator[None]:
    options = ("--pool", "prefork", "--concurrency", str(PROCESSES), "--loglevel", "WARNING")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", APP, "worker", *options, *quiet],
        cwd=ROOT,
        env=os.environ
        | {"CELERY_BROKER": broker, "DRIVER": json.dumps(stack.driver_settings("redis"))},
        stdout=sys.stderr,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
