"""A replica that takes part: how to read from it and how to write to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from backends.store import Store
from memrelay.driver import Driver
from memrelay.types import Op, Outcome, Page, Scope


class Call(Protocol):
    """``Store.call``: an action on the ready driver; raises ``Transient`` or ``Permanent``."""

    async def __call__[T](self, scope: Scope, action: Callable[[Driver], Awaitable[T]], /) -> T: ...


Write = Callable[[Scope, Sequence[Op]], Awaitable[Mapping[str, Outcome]]]


@dataclass(frozen=True, slots=True)
class Peer:
    """One replica. ``write`` is the driver's ``apply``, under whatever locks that needs here."""

    name: str
    call: Call
    write: Write


def peer_of(store: Store) -> Peer:
    """A store whose applies need no lock."""

    async def write(scope: Scope, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        return await store.call(scope, lambda driver: driver.apply(scope, ops))

    return Peer(store.name, store.call, write)


async def scan_page(
    scope: Scope, peer: Peer, *, since: int = 0, cursor: str | None = None, limit: int = 1000
) -> Page:
    """One page of a peer's scan."""
    return await peer.call(
        scope, lambda driver: driver.scan(scope, since=since, cursor=cursor, limit=limit)
    )


async def together[T](calls: Iterable[Awaitable[T]]) -> list[T]:
    """All results in order; the first error, but only when every call has ended."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    done: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done
