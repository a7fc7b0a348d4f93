"""An API or a worker that fails at one point: ``python -m tests.failpoints workers killed_after_apply``.

The product knows nothing of it: what is patched here is its classes, in the process before it starts,
so that a worker's forked children have it too. ``name=value`` gives a failpoint its value. Those that
kill do it once for each directory that the process runs in, and leave a file of their name there.
"""

from __future__ import annotations

import functools
import os
import runpy
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from backends.embedding.local import LocalEmbedder
from backends.journal import Journal, ThreadJournal, journal
from backends.redis.driver import RedisDriver
from memrelay.breaker import Breaker
from memrelay.types import Op, Scope, Upsert

POISON = "kills its worker"
"""A memory with this in its text does so, where a ``poison_…`` failpoint is set."""
BREAKERS = "breakers.log"
CHILDREN = "children.log"


def through(module: str, *failpoints: str) -> tuple[str, ...]:
    """What ``Service.api`` or ``Service.worker`` has to be, to start ``module`` with them."""
    return ("tests.failpoints", module, *failpoints)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(name: str) -> None:
    """Nothing, if anybody has died of it here before."""
    try:
        Path(name).touch(exist_ok=False)
    except FileExistsError:
        return
    die()


def killed_after_append(_: str) -> None:
    """An API dies between the journal's word and its own."""
    append = Journal.append

    async def patched(self: Journal, *args: Any) -> Any:
        answers = await append(self, *args)
        die_once("killed_after_append")
        return answers

    _replace(Journal, "append", patched)


def killed_after_apply(_: str) -> None:
    """A worker's child dies when all stores have what it claimed, and the journal does not know."""
    settle = Journal.settle

    async def patched(self: Journal, *args: Any, **options: Any) -> Any:
        die_once("killed_after_apply")
        return await settle(self, *args, **options)

    _replace(Journal, "settle", patched)


def killed_in_a_batch(_: str) -> None:
    """A worker's child dies when a Redis store has the first half of a batch of two or more."""
    apply = RedisDriver.apply

    async def patched(self: RedisDriver, scope: Scope, ops: Sequence[Op]) -> Any:
        half = len(ops) // 2
        done = dict(await apply(self, scope, ops[:half])) if half else {}
        if half:
            die_once("killed_in_a_batch")
        return done | dict(await apply(self, scope, ops[half:]))

    _replace(RedisDriver, "apply", patched)


def poison_embed(_: str) -> None:
    """A worker's child dies whenever it embeds a text with ``POISON``, as one out of memory would."""
    embed = LocalEmbedder.embed

    async def patched(self: LocalEmbedder, texts: Sequence[str]) -> list[bytes]:
        if any(POISON in text for text in texts):
            die()
        return await embed(self, texts)

    _replace(LocalEmbedder, "embed", patched)


def poison_apply(_: str) -> None:
    """A worker's child dies whenever it writes a text with ``POISON`` to a Redis store."""
    apply = RedisDriver.apply

    async def patched(self: RedisDriver, scope: Scope, ops: Sequence[Op]) -> Any:
        if any(isinstance(op, Upsert) and POISON in op.memory.text for op in ops):
            die()
        return await apply(self, scope, ops)

    _replace(RedisDriver, "apply", patched)


def poison_memory(_: str) -> None:
    """A worker's child that embeds a text with ``POISON`` takes all the memory that there is."""
    embed = LocalEmbedder.embed

    async def patched(self: LocalEmbedder, texts: Sequence[str]) -> list[bytes]:
        hoard = []
        while any(POISON in text for text in texts):
            hoard.append(b"x" * (16 << 20))
        return await embed(self, texts)

    _replace(LocalEmbedder, "embed", patched)


def count_children(_: str) -> None:
    """Each child of a worker's that begins to embed adds a line to ``CHILDREN``, once."""
    embed = LocalEmbedder.embed
    known: set[int] = set()

    def note() -> None:
        if os.getpid() not in known:
            known.add(os.getpid())
            with Path(CHILDREN).open("a") as log:
                log.write(f"{os.getpid()}\n")

    async def patched(self: LocalEmbedder, texts: Sequence[str]) -> list[bytes]:
        note()
        return await embed(self, texts)

    _replace(LocalEmbedder, "embed", patched)


def within(group: str) -> None:
    """The process and all that it starts belong to the control group whose directory this is."""
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))


def lease_ms(value: str) -> None:
    """Leases of so many milliseconds."""
    for made in (Journal.__init__, ThreadJournal.__init__):
        defaults = made.__kwdefaults__
        assert defaults and "lease_ms" in defaults, f"{made} has no lease_ms"
        defaults["lease_ms"] = int(value)


def keep_stored_ms(value: str) -> None:
    """What became of a job is forgotten so many milliseconds after all of it is stored."""
    _replace(journal, "KEEP_STORED_MS", int(value))


def watch_breakers(_: str) -> None:
    """What breakers do is a line each in ``BREAKERS``: process, breaker, ``open``, ``closed``, ``probe``."""
    for name in ("allows", "succeeded", "failed"):
        _replace(Breaker, name, _watched(getattr(Breaker, name)))


def _watched(method: Callable[[Breaker], Any]) -> Callable[[Breaker], Any]:
    @functools.wraps(method)
    def patched(self: Breaker) -> Any:
        before = self.state
        answer = method(self)
        seen = "probe" if answer and before != "closed" else ""
        if self.state not in (before, "half-open"):
            seen = self.state
        if seen:
            with Path(BREAKERS).open("a") as log:
                log.write(f"{os.getpid()} {id(self)} {seen}\n")
        return answer

    return patched


def _replace(owner: Any, name: str, patched: Any) -> None:
    assert hasattr(owner, name), f"{owner} has no {name}: this failpoint has lost its place"
    setattr(owner, name, patched)


FAILPOINTS: dict[str, Callable[[str], None]] = {
    patch.__name__: patch
    for patch in (
        killed_after_append,
        killed_after_apply,
        killed_in_a_batch,
        poison_embed,
        poison_apply,
        poison_memory,
        count_children,
        within,
        lease_ms,
        keep_stored_ms,
        watch_breakers,
    )
}


def main() -> None:
    module, *wanted = sys.argv[1:]
    for word in wanted:
        name, _, value = word.partition("=")
        FAILPOINTS[name](value)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
