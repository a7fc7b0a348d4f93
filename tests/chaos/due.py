"""What is in flight, as the journal has it: for the log, to see what a slow drain waits for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import redis

from backends.journal.journal import PREFIX

STATES = {b"w": "waiting", b"l": "leased", b"r": "later"}


class Due:
    """Reads past memrelay. Raises redis-py's errors while the journal is away."""

    def __init__(self, url: str) -> None:
        self._client: Any = redis.Redis.from_url(url, socket_timeout=2)
        self.detached: Counter[str] = Counter()
        """How often each driver was."""
        self._away: set[str] = set()

    def close(self) -> None:
        self._client.close()

    def told(self) -> str:
        """Stages by queue and state; of those that are tried later the most attempts and the longest wait."""
        due = self._client.zrange(f"{PREFIX}due", 0, -1, withscores=True)
        seconds, micros = self._client.time()
        now_ms = 1000 * seconds + micros // 1000
        stages = [(member.decode().split("/", 1), at) for member, at in due]
        with self._client.pipeline(transaction=False) as pipe:
            for (eid, queue), _ in stages:
                pipe.hmget(f"{PREFIX}e:{eid}", f"s:{queue}", f"a:{queue}", "n")
            rows = pipe.execute()
        counts: Counter[str] = Counter()
        most, longest = 0, 0.0
        for ((_, queue), at), (state, attempts, n) in zip(stages, rows, strict=True):
            name = f"{queue} {STATES.get(state, 'gone')}"
            counts[name] += 1
            counts[f"{name}, memories"] += int(n or 0)
            if state == b"r":
                most = max(most, int(attempts or 0))
                longest = max(longest, (at - now_ms) / 1000)
        self._watch()
        text = "; ".join(f"{name}: {number}" for name, number in sorted(counts.items()))
        return f"{text or 'nothing'}; at most {most} attempts, {longest:.1f} s to wait"

    def serving(self) -> bool:
        """No driver is detached, and no reconcile is under way."""
        self._watch()
        return not self._away

    def _watch(self) -> None:
        found = self._client.hgetall(f"{PREFIX}detached")
        away = {name.decode() for name in found}
        self.detached.update(away - self._away)
        self._away = away
