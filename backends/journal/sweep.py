"""The journal from a thread: the sweeper's and the lease keeper's calls, on a blocking client."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backends.journal.connect import connect_blocking, disconnect_blocking
from backends.journal.errors import translated
from backends.journal.journal import (
    CHECK_MS,
    GATE_MS,
    KEPT,
    LEASE_MS,
    PREFIX,
    SWEEP_LIMIT,
    script,
)
from backends.journal.pulse import Beat
from backends.journal.values import Swept
from memrelay import __version__


class ThreadJournal:
    """For one thread, without an event loop."""

    def __init__(self, url: str, *, lease_ms: int = LEASE_MS) -> None:
        self._client = connect_blocking(url)
        self._lease_ms = lease_ms
        self._renew = self._client.register_script(script("renew"))
        self._sweep = self._client.register_script(script("sweep"))
        self._release = self._client.register_script(script("release"))

    def close(self) -> None:
        disconnect_blocking(self._client)

    def renew(self, queue: str, token: str, eids: Sequence[int]) -> int:
        """How many of these leases are still the token's; each is extended by a whole lease."""
        with translated():
            return int(self._renew(keys=[PREFIX], args=[queue, token, self._lease_ms, *eids]))

    def renew_lock(self, name: str, token: str) -> bool:
        """Whether the lock is still the token's; it is held for a whole lease more."""
        with translated():
            return bool(self._release(keys=[PREFIX], args=[token, self._lease_ms, name]))

    def beat(self, host: str, pid: int, queues: Sequence[str]) -> None:
        """This worker is alive; ``queues`` are those that it works on."""
        with translated():
            seconds, micros = self._client.time()
            at = 1000 * int(seconds) + int(micros) // 1000
            beat = Beat(
                host=host,
                pid=pid,
                queues=list(queues),
                at=at,
                spaces=True,
                version=__version__,
            )
            self._client.hset(f"{PREFIX}workers", f"{host}:{pid}", msgspec.json.encode(beat))

    def leave(self, host: str, pid: int) -> None:
        """This worker ends."""
        with translated():
            self._client.hdel(f"{PREFIX}workers", f"{host}:{pid}")

    def sweep(self, token: str, *, gate_ms: int = GATE_MS, kept: int = KEPT) -> Swept | None:
        """Move what is due among the waiting; None if another sweeper was here within ``gate_ms``."""
        with translated():
            answer = self._sweep(keys=[PREFIX], args=[token, gate_ms, CHECK_MS, SWEEP_LIMIT, kept])
        if answer is None:
            return None
        moved, waiting, expired, retried = answer
        texts = [item.decode() for item in moved]
        names = [item.decode() for item in waiting]
        return Swept(
            moved=[(q, int(eid)) for q, eid in zip(texts[::2], texts[1::2], strict=True)],
            waiting={q: int(n) for q, n in zip(names[::2], names[1::2], strict=True)},
            expired=int(expired),
            retried=int(retried),
        )
