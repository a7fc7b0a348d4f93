"""One round trip after another to Redis or Redis Cluster, with memrelay's errors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from backends.redis_errors import ERRORS, translate
from memrelay.errors import MemrelayError, Permanent

CONNECTIONS = 32
ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 3.0
HEALTH_CHECK_SECONDS = 15

Command = tuple[Any, ...]
_SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script of this package; all keys of one call share a slot."""

    text: str
    sha: bytes

    def call(self, keys: Sequence[bytes], arguments: Sequence[Any]) -> Command:
        return ("EVALSHA", self.sha, b"%d" % len(keys), *keys, *arguments)


def _script(*names: str, flags: str = "") -> Script:
    """The script of one file, or of several in a row."""
    parts = [(_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8") for name in names]
    text = "".join([f"#!lua flags={flags}\n", *parts])
    # Redis names scripts by SHA-1; nothing is kept secret by it.
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return Script(text, sha.encode())


# Deletes are what makes room: they run when the server is out of memory, too.
FULL = "allow-oom"
ENTER, ENTER_DELETES = _script("enter"), _script("enter", flags=FULL)
PUT, DROP = _script("partition", "put"), _script("partition", "drop", flags=FULL)
CLEAR, OUST = _script("clear", flags=FULL), _script("oust", flags=FULL)
UNBURY, FORGET = _script("unbury", flags=FULL), _script("forget", flags=FULL)
PAGE, IDS = _script("page", flags="no-writes"), _script("ids", flags="no-writes")
SCRIPTS = (ENTER, ENTER_DELETES, PUT, DROP, CLEAR, OUST, UNBURY, FORGET, PAGE, IDS)


class Client:
    """Connects at the first call. Every call is safe to repeat, so a lost connection is tried once
    more at once; all other patience is the caller's."""

    def __init__(self, url: str) -> None:
        self._redis: Any = _connect(url)

    async def close(self) -> None:
        await self._redis.aclose()

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, in order; raises if one of them is an error."""
        replies = await self.attempt(commands)
        for reply in replies:
            if isinstance(reply, MemrelayError):
                raise reply
        return replies

    async def attempt(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, in order, a ``Permanent`` in place of what was refused; raises ``Transient``."""
        if not commands:
            return []
        try:
            replies = await self._send(commands)
            missing = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if missing:
                await self._load_scripts()
                again = await self._send([commands[at] for at in missing])
                for at, reply in zip(missing, again, strict=True):
                    replies[at] = reply
        except ERRORS as error:
            raise translate(error) from error
        return [_checked(reply) if isinstance(reply, Exception) else reply for reply in replies]

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies

    async def _load_scripts(self) -> None:
        for script in SCRIPTS:
            await self._redis.script_load(script.text)


def _connect(url: str) -> Any:
    options: dict[str, Any] = {
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "health_check_interval": HEALTH_CHECK_SECONDS,
        "protocol": 3,
    }
    retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
    if "+cluster://" in url:
        return RedisCluster.from_url(url.replace("+cluster", "", 1), **options)
    pool = BlockingConnectionPool.from_url(
        url, max_connections=CONNECTIONS, timeout=ANSWER_SECONDS, retry=retry, **options
    )
    return Redis.from_pool(pool)


def _checked(error: Exception) -> Permanent:
    translated = translate(error)
    if isinstance(translated, Permanent):
        return translated
    raise translated from error
