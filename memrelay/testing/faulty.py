"""A driver that fails on schedule. It wraps a real one and satisfies the same protocol and suite."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from memrelay.driver import Driver, Query
from memrelay.errors import MemrelayError
from memrelay.filters import Filter
from memrelay.types import Delete, Hit, Memory, Op, Outcome, Page, Scope, failed

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What befalls one call: it comes ``latency`` seconds late, and then fails with ``error``, if any.

    With ``answer_lost`` the error comes after the call has taken effect. With ``guilty`` an ``apply``
    does not raise: the ops that it picks are not applied, and have ``error`` as their outcome.
    """

    error: MemrelayError | None = None
    latency: float = 0.0
    answer_lost: bool = False
    guilty: Callable[[Op], bool] | None = None


NO_FAULT = Fault()
Schedule = Callable[[str], Fault]
"""The fault of the next call of the method with this name."""


def no_faults(method: str) -> Fault:
    """The schedule of a driver that works."""
    return NO_FAULT


def scripted(faults: Mapping[str, Sequence[Fault]]) -> Schedule:
    """The faults of each method, one for each call in this order; none after the last."""
    left = {method: list(sequence) for method, sequence in faults.items()}

    def next_fault(method: str) -> Fault:
        waiting = left.get(method)
        return waiting.pop(0) if waiting else NO_FAULT

    return next_fault


def seeded(seed: int, rate: float, faults: Sequence[Fault], methods: Sequence[str]) -> Schedule:
    """One of ``faults`` in a share ``rate`` of the calls of ``methods``; the same for the same seed."""
    rng = random.Random(seed)

    def next_fault(method: str) -> Fault:
        if method not in methods or rng.random() >= rate:
            return NO_FAULT
        return rng.choice(faults)

    return next_fault


class FaultyDriver:
    """``inner`` with the faults of ``schedule``. ``calls`` counts the calls of each method."""

    def __init__(
        self, inner: Driver, schedule: Schedule = no_faults, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.name = inner.name
        self.capabilities = inner.capabilities
        self.calls: Counter[str] = Counter()
        self.schedule = schedule
        self._inner = inner
        self._sleep = sleep

    async def open(self) -> None:
        await self._befall("open", self._inner.open)

    async def close(self) -> None:
        await self._befall("close", self._inner.close)

    async def ping(self) -> None:
        await self._befall("ping", self._inner.ping)

    async def ensure(self, scope: Scope) -> None:
        await self._befall("ensure", lambda: self._inner.ensure(scope))

    async def apply(self, scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        fault = await self._next("apply")
        if fault.guilty is None or fault.error is None:
            return await _with(fault, lambda: self._inner.apply(scope, ops))
        outcomes = {op.id: failed(fault.error) for op in ops if fault.guilty(op)}
        innocent = [op for op in ops if op.id not in outcomes]
        return {**outcomes, **(await self._inner.apply(scope, innocent))}

    async def get(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Memory]:
        return await self._befall("get", lambda: self._inner.get(scope, ids))

    async def search(self, scope: Scope, query: Query) -> Sequence[Hit]:
        return await self._befall("search", lambda: self._inner.search(scope, query))

    async def scan(
        self, scope: Scope, *, since: int = 0, cursor: str | None = None, limit: int = 1000
    ) -> Page:
        return await self._befall(
            "scan", lambda: self._inner.scan(scope, since=since, cursor=cursor, limit=limit)
        )

    async def records(self, scope: Scope, ids: Sequence[str]) -> Mapping[str, Op]:
        return await self._befall("records", lambda: self._inner.records(scope, ids))

    async def find(
        self, scope: Scope, filter: Filter | None, *, after: str | None = None, limit: int = 512
    ) -> Sequence[Memory]:
        return await self._befall(
            "find", lambda: self._inner.find(scope, filter, after=after, limit=limit)
        )

    async def expired(self, scope: Scope, *, now: int, limit: int = 512) -> Sequence[Delete]:
        return await self._befall(
            "expired", lambda: self._inner.expired(scope, now=now, limit=limit)
        )

    async def collect(self, scope: Scope, *, before: int, limit: int = 512) -> int:
        return await self._befall(
            "collect", lambda: self._inner.collect(scope, before=before, limit=limit)
        )

    async def count(self, scope: Scope, filter: Filter | None, *, now: int) -> int:
        return await self._befall("count", lambda: self._inner.count(scope, filter, now=now))

    async def purge(self, scope: Scope) -> None:
        await self._befall("purge", lambda: self._inner.purge(scope))

    async def _befall[T](self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        return await _with(await self._next(method), call)

    async def _next(self, method: str) -> Fault:
        """The fault of this call, after its latency."""
        self.calls[method] += 1
        fault = self.schedule(method)
        if fault.latency:
            await self._sleep(fault.latency)
        return fault


async def _with[T](fault: Fault, call: Callable[[], Awaitable[T]]) -> T:
    if fault.error is not None and not fault.answer_lost:
        raise fault.error.with_traceback(None)
    answer = await call()
    if fault.error is not None:
        raise fault.error.with_traceback(None)
    return answer
