"""API keys in the journal: a digest of each, never the key itself. The first locks the service for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal, script
from memrelay.apikeys import KeyScope, Token
from memrelay.errors import Permanent
from memrelay.times import format_time

MAX_KEYS = 32
"""Of one namespace: a few for each of its programs, two of each while they are exchanged."""
LASTING = ("create", "revoke")
"""What a failover must not undo."""
USED_EVERY_MS = 60_000
"""How coarse the time of last use is."""


class TooManyKeys(Permanent):
    """The namespace has ``MAX_KEYS`` keys."""

    code = "too_many_keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What may be told of a key. Times in microseconds; None: never."""

    id: str
    namespace: str
    scopes: Sequence[KeyScope]
    name: str
    created_at: int
    used_at: int | None
    expires_at: int | None

    @property
    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "id": self.id,
            "namespace": self.namespace,
            "name": self.name,
            "scopes": list(self.scopes),
            "created_at": format_time(self.created_at),
            "used_at": None if self.used_at is None else format_time(self.used_at),
            "expires_at": None if self.expires_at is None else format_time(self.expires_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a key is checked by. ``left`` are the seconds until it expires; None: it never does."""

    digest: str
    namespace: str
    scopes: frozenset[str]
    left: float | None


async def create_key(
    journal: Journal,
    token: Token,
    namespace: str,
    scopes: Sequence[KeyScope],
    *,
    name: str = "",
    expires_at: int | None = None,
) -> ApiKey:
    """The key of ``token``, good from now on; ``TooManyKeys`` if it would be one too many."""
    joined = ",".join(scopes)
    until_ms = 0 if expires_at is None else max(1, expires_at // 1000)
    given = (token.id, token.digest, namespace, joined, name, until_ms, MAX_KEYS)
    created_at = 1000 * int(await _run(journal, "create", *given))
    if created_at == 0:
        raise TooManyKeys(f"there are {MAX_KEYS} keys of this namespace: revoke one first")
    return ApiKey(
        id=token.id,
        namespace=namespace,
        scopes=tuple(scopes),
        name=name,
        created_at=created_at,
        used_at=None,
        expires_at=expires_at,
    )


async def look_up(journal: Journal, id: str) -> Held | None:
    """The key as it is now, noted as used; None if there is none, any more or at all."""
    row = await _run(journal, "look", id, USED_EVERY_MS)
    if row is None:
        return None
    digest, namespace, scopes, left_ms = row
    return Held(
        digest=digest.decode(),
        namespace=namespace.decode(),
        scopes=frozenset(scopes.decode().split(",")),
        left=None if left_ms < 0 else left_ms / 1000,
    )


async def list_keys(journal: Journal, namespace: str) -> list[ApiKey]:
    """Of a namespace, oldest first; those that have expired are gone."""
    flat = cast(Sequence[Any], await _run(journal, "list", namespace))
    rows = (flat[at : at + 6] for at in range(0, len(flat), 6))
    return [
        ApiKey(
            id=id.decode(),
            namespace=namespace,
            scopes=cast(Sequence[KeyScope], tuple(scopes.decode().split(","))),
            name=name.decode(),
            created_at=1000 * int(created_at),
            used_at=1000 * int(used_at) if used_at else None,
            expires_at=1000 * until_ms if until_ms > 0 else None,
        )
        for id, scopes, name, created_at, used_at, until_ms in rows
    ]


async def namespaces(journal: Journal) -> list[str]:
    """Those that have keys."""
    found = cast(Sequence[bytes], await _run(journal, "namespaces"))
    return [namespace.decode() for namespace in found]


async def revoke_key(journal: Journal, id: str, *, namespace: str = "") -> bool:
    """Whether there was that key, in ``namespace`` if it is given; no API takes it 5 s later."""
    return bool(await _run(journal, "revoke", id, namespace))


async def locked(journal: Journal) -> bool:
    """Whether there is, or ever was, a key: then nobody is answered without one."""
    with translated():
        return bool(await journal.client.exists(f"{PREFIX}locked"))


async def _run(journal: Journal, action: str, *args: str | int) -> Any:
    run = journal.client.register_script(script("apikeys"))
    with translated():
        if action in LASTING:
            return await journal.held(run, [action, *args])
        return await run(keys=[PREFIX], args=[action, *args])
