"""redis-py's exceptions as memrelay's, for the Redis driver and the journal: the only place that knows them.

``Unavailable``: the server refuses everybody, or cannot be reached. ``Transient``: this call may be
repeated. ``Permanent``: repeating is useless.
"""

from __future__ import annotations

import asyncio

from redis import exceptions as redis

from memrelay.errors import MemrelayError, Permanent, Transient, Unavailable

# Each class of redis.exceptions, and the code it is reported under. A class that is not here fails
# a test, so that a new one is judged and not just inherited.
CLASSES: dict[type[Exception], tuple[type[MemrelayError], str]] = {
    redis.RedisError: (Transient, "redis"),
    redis.ConnectionError: (Unavailable, "unreachable"),
    redis.TimeoutError: (Unavailable, "timeout"),
    redis.BusyLoadingError: (Unavailable, "loading"),
    redis.MaxConnectionsError: (Transient, "connections"),
    redis.AuthenticationError: (Unavailable, "credentials"),
    redis.AuthenticationWrongNumberOfArgsError: (Unavailable, "credentials"),
    redis.AuthorizationError: (Unavailable, "credentials"),
    redis.ExternalAuthProviderError: (Unavailable, "credentials"),
    redis.InvalidResponse: (Transient, "protocol"),
    redis.PubSubError: (Transient, "protocol"),
    redis.WatchError: (Transient, "protocol"),
    redis.ChildDeadlockedError: (Transient, "protocol"),
    redis.NoSuchFieldsetError: (Transient, "protocol"),
    redis.LockError: (Transient, "lock"),
    redis.LockNotOwnedError: (Transient, "lock"),
    redis.ResponseError: (Permanent, "refused"),
    redis.DataError: (Permanent, "refused"),
    redis.NoPermissionError: (Permanent, "permission"),
    redis.ModuleError: (Permanent, "refused"),
    redis.ExecAbortError: (Permanent, "refused"),
    redis.NoScriptError: (Transient, "script"),
    redis.OutOfMemoryError: (Unavailable, "memory"),
    redis.ReadOnlyError: (Unavailable, "readonly"),
    redis.ClusterError: (Transient, "cluster"),
    redis.ClusterDownError: (Unavailable, "cluster"),
    redis.MasterDownError: (Unavailable, "cluster"),
    redis.AskError: (Transient, "cluster"),
    redis.MovedError: (Transient, "cluster"),
    redis.TryAgainError: (Transient, "cluster"),
    redis.ClusterCrossSlotError: (Permanent, "cluster"),
    redis.RedisClusterException: (Unavailable, "cluster"),
    redis.SlotNotCoveredError: (Unavailable, "cluster"),
    redis.CrossSlotTransactionError: (Permanent, "cluster"),
    redis.InvalidPipelineStack: (Transient, "cluster"),
    redis.IncorrectPolicyType: (Permanent, "cluster"),
}

# Error codes, a reply's first word, for which redis-py has no class.
CODES: dict[str, tuple[type[MemrelayError], str]] = {
    "BUSY": (Unavailable, "busy"),
    "MISCONF": (Unavailable, "persistence"),
    "NOREPLICAS": (Unavailable, "replicas"),
    "UNBLOCKED": (Transient, "failover"),
    "WRONGTYPE": (Permanent, "wrongtype"),
}

ERRORS: tuple[type[Exception], ...] = (
    *CLASSES,
    OSError,
    asyncio.IncompleteReadError,
    RuntimeError,  # uvloop's, for a write to a connection that was closed a moment before
)
"""What the client can raise."""


def translate(error: BaseException, what: str = "redis") -> MemrelayError:
    """The error of memrelay for one that the client raised, or gave in place of a reply."""
    kind, code = _judge(error)
    return kind(f"{what}: {error or type(error).__name__}", code=code)


def _judge(error: BaseException) -> tuple[type[MemrelayError], str]:
    if type(error) is redis.ResponseError:
        word = str(error).partition(" ")[0]
        return CODES.get(word, CLASSES[redis.ResponseError])
    for ancestor in type(error).__mro__:
        if ancestor in CLASSES:
            return CLASSES[ancestor]
    return Unavailable, "unreachable"
