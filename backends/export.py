"""``python -m backends.export FILE NAMESPACE SOURCE [--vectors]``: what a source holds, as lines to import.

An empty NAMESPACE is that of the settings. Everything that was accepted before it began is in it, unless that
was deleted or replaced meanwhile: each id once, in the order of ids. FILE is there when it is whole, and not
before: not at all if the source moves to another space meanwhile, or the driver that is read serves no more.
One line of JSON for each thing that it tells, ``{"progress": …}``, at last ``{"result": …}``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import msgspec

from backends.journal import Journal
from backends.journal.pending import is_pending
from backends.journal.spaces import spaces, written
from backends.journal.sync import last_version, part, states
from backends.journal.usage import clock
from backends.patience import patiently
from backends.process import run_process
from backends.sources import Source, open_sources
from backends.store import Store
from memrelay import exits
from memrelay.driver import Driver
from memrelay.errors import ConfigError, MemrelayError, Unavailable
from memrelay.settings import load_settings
from memrelay.times import format_time
from memrelay.types import Memory, Scope, Upsert, vector_from_bytes

PAGE = 512
LOOK_SECONDS = 0.5
Line = tuple[Memory, bytes | None]
"""A memory, with its vector where it is wanted."""


class Export:
    """One source of one namespace. ``vectors``: in each line too; always where callers bring them."""

    def __init__(self, journal: Journal, source: Source, namespace: str, *, vectors: bool) -> None:
        self._journal = journal
        self._source = source
        self._scope = source.scope(namespace)
        self._vectors = vectors or source.embedder is None
        self._written = self._total = 0

    async def write(self, file: IO[bytes]) -> int:
        """How many memories were written. ``MemrelayError`` where that may not be all."""
        store = await self._ask(self._holder)
        now = await self._ask(lambda: clock(self._journal))
        count = partial(_count, self._scope, now)
        self._total = await self._ask(lambda: store.call(self._scope, count))
        async for lines in self._pages(store):
            if await self._ask(partial(self._has_moved, store)):
                raise MemrelayError(f"{self._source.name} moved meanwhile: export again")
            for memory, vector in lines:
                if not memory.expired(now):
                    file.write(_encoded(memory, vector))
                    self._written += 1
            self._show("")
        return self._written

    async def _holder(self) -> Store:
        """A driver that serves, once it has what was accepted until now."""
        until = await last_version(self._journal) + 1
        known = await states(self._journal, [store.name for store in self._source.serving])
        for store in self._source.serving:
            if known[store.name].state == "" and await _answers(store):
                while await is_pending(self._journal, [store.name], below=until):
                    self._show(f"waits until {store.name} has what was accepted before")
                    await asyncio.sleep(LOOK_SECONDS)
                return store
        raise Unavailable(f"no driver of {self._source.name} serves")

    async def _has_moved(self, store: Store) -> bool:
        """Whether what was just read may have lacked something: a space that is left is dropped, and a driver
        that is let go may be emptied."""
        name = self._source.name
        active = (await spaces(self._journal, [name]))[name].active
        known = await states(self._journal, [store.name, part(name, store.name)])
        return active not in ("", written(self._source.space)) or any(
            it.state for it in known.values()
        )

    async def _pages(self, store: Store) -> AsyncIterator[Sequence[Line]]:
        after: str | None = None
        while True:
            page = partial(_page, self._scope, after)
            found = await self._ask(partial(store.call, self._scope, page))
            yield (
                await self._with_vectors(store, found)
                if self._vectors
                else [(memory, None) for memory in found]
            )
            if len(found) < PAGE:
                return
            after = found[-1].id

    async def _with_vectors(self, store: Store, found: Sequence[Memory]) -> Sequence[Line]:
        """As they are now, each with its own vector; what was deleted meanwhile is left out."""
        ids = [memory.id for memory in found]
        records = partial(_lines, self._scope, ids)
        lines = await self._ask(partial(store.call, self._scope, records)) if ids else {}
        damaged = [id for id in ids if id not in lines]
        if damaged:
            raise MemrelayError(
                f"{len(damaged)} memories are damaged in {store.name}, such as {damaged[0]}: "
                f"memrelay sync {store.name}"
            )
        return [line for id in ids if (line := lines[id]) is not None]

    async def _ask[T](self, ask: Callable[[], Awaitable[T]]) -> T:
        return await patiently(ask, self._show)

    def _show(self, waits: str) -> None:
        progress = {"read": self._written, "written": self._written, "total": self._total}
        _tell("progress", {"step": "export", "waits": waits, **progress})


def _tell(kind: str, value: Mapping[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode({kind: value}).decode() + "\n")
    sys.stdout.flush()


def _encoded(memory: Memory, vector: bytes | None) -> bytes:
    """A line as ``POST /v1/memories/import`` takes it, without what it would fill in the same way."""
    line: dict[str, Any] = {"id": memory.id, "text": memory.text}
    line |= {
        name: value
        for name, value in (
            ("user_id", memory.user_id),
            ("session_id", memory.session_id),
            ("tags", memory.tags or None),
            ("metadata", memory.metadata or None),
        )
        if value is not None
    }
    line["created_at"] = format_time(memory.created_at)
    if memory.expires_at is not None:
        line["expires_at"] = format_time(memory.expires_at)
    if vector is not None:
        line["vector"] = vector_from_bytes(vector)
    return msgspec.json.encode(line) + b"\n"


async def _answers(store: Store) -> bool:
    try:
        await store.ping()
    except MemrelayError:
        return False
    return True


async def _count(scope: Scope, now: int, driver: Driver) -> int:
    return await driver.count(scope, None, now=now)


async def _page(scope: Scope, after: str | None, driver: Driver) -> Sequence[Memory]:
    return await driver.find(scope, None, after=after, limit=PAGE)


async def _lines(scope: Scope, ids: Sequence[str], driver: Driver) -> dict[str, Line | None]:
    """By id; None for what is deleted."""
    found = await driver.records(scope, ids)
    return {
        id: (op.memory, op.vector) if isinstance(op, Upsert) else None for id, op in found.items()
    }


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that has its name only when all of it is on disk; what is begun and not ended is removed."""
    if path.exists():
        raise ConfigError(f"{path} exists already")
    begun = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with begun.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(begun, path)  # not over a file that has come meanwhile
    finally:
        begun.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


async def export(path: Path, namespace: str, name: str, *, vectors: bool) -> None:
    settings = load_settings()
    began = time.monotonic()
    journal = Journal(settings.journal_url)
    try:
        sources = await open_sources(settings, writes=False)
        try:
            await sources.look(journal)
            if name not in sources.by_name:
                raise ConfigError(f"there is no source {name}")
            space = namespace or settings.namespace
            run = Export(journal, sources.by_name[name], space, vectors=vectors)
            with whole_file(path) as file:
                written = await run.write(file)
        finally:
            await sources.close()
    finally:
        await journal.close()
    seconds = round(time.monotonic() - began, 1)
    about = {"file": str(path), "namespace": space, "source": name}
    _tell("result", {**about, "memories": written, "seconds": seconds})


def main() -> int:
    parser = argparse.ArgumentParser(prog="backends.export")
    for argument in ("file", "namespace", "source"):
        parser.add_argument(argument)
    parser.add_argument("--vectors", action="store_true")
    given = parser.parse_args()
    work = partial(export, Path(given.file), given.namespace, given.source, vectors=given.vectors)
    try:
        return run_process("export", lambda: asyncio.run(work()))
    except OSError as error:
        sys.stderr.write(f"memrelay export: {given.file}: {error.strerror or error}\n")
        return exits.FAILED


if __name__ == "__main__":
    sys.exit(main())
