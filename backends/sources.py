"""The configured sources with their stores and embedders, for one event loop of one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from backends.journal import Journal
from backends.journal.members import Members, Membership, enter, members
from backends.journal.spaces import Spaces, read, spaces, written
from backends.registry import create_driver, create_embedder
from backends.store import Store
from memrelay.embedder import Embedder
from memrelay.errors import ConfigError, MemrelayError, Permanent, Transient, Unavailable
from memrelay.settings import DEFAULT, Settings, SourceSettings
from memrelay.types import Scope, Space

log = logging.getLogger("memrelay.sources")
EXTERNAL = "external"
IN_SETTINGS = Spaces()
UNTIL_MENDED = ("embedding_credentials", "embedding_model")
"""Codes of an ``Unavailable`` that no waiting helps: a setting has to be mended."""


@dataclass(frozen=True, slots=True)
class Source:
    """A named destination, ready for use. ``embedder`` is None where callers bring vectors.

    ``stores`` are its members, those that have everything first; a read may ask all of them in turn, for the
    journal says of each whether it may serve by now. ``configured`` are all drivers that there are.
    """

    name: str
    settings: SourceSettings
    stores: tuple[Store, ...]
    embedder: Embedder | None
    space: Space
    configured: Mapping[str, Store] = field(default_factory=dict)
    members: Mapping[str, Membership] = field(default_factory=dict)
    spaces: Spaces = IN_SETTINGS
    """Where the journal says that it is, and what is built for it: in ``space`` if it says nothing."""
    building: Embedder | None = None
    """By which it is built; None in a process that does not write to stores."""

    def scope(self, namespace: str) -> Scope:
        return Scope(
            namespace=namespace,
            source=self.name,
            space=self.space,
            fields=self.settings.filterable,
        )

    @property
    def brought(self) -> int | None:
        """The dimensions of the vectors that callers bring; None where it embeds texts itself."""
        return self.space.dimensions if self.embedder is None else None

    def store(self, name: str) -> Store | None:
        """A driver that the source has, or is to have."""
        return self.configured.get(name)

    @property
    def serving(self) -> tuple[Store, ...]:
        """The members that have everything that was ever stored, as far as this process knows."""
        return self._of("whole")

    @property
    def merged(self) -> tuple[Store, ...]:
        """The members whose content counts: not what is to be filled first."""
        return self._of("whole", "syncing")

    @property
    def retired(self) -> tuple[Store, ...]:
        """Drivers that were members and are configured still."""
        gone = [name for name, state in self.members.items() if state == "retired"]
        return tuple(self.configured[name] for name in gone if name in self.configured)

    def _of(self, *states: Membership) -> tuple[Store, ...]:
        return tuple(s for s in self.stores if self.members.get(s.name, "whole") in states)

    def refuses(self, store: Store) -> str | None:
        """Why a driver cannot hold the source's vectors; None if it can."""
        built = read(self.spaces.building) if self.spaces.building else self.space
        return too_large(store, max(self.space.dimensions, built.dimensions))

    def with_members(self, known: Members) -> Source:
        """The source as the journal knows it."""
        names = known.order(self.settings.drivers)
        stores = tuple(self.configured[name] for name in names if name in self.configured)
        return replace(self, stores=stores, members=known.states)


def too_large(store: Store, dimensions: int) -> str | None:
    """Why a driver cannot hold vectors of so many dimensions; None if it can."""
    most = store.driver.capabilities.max_dimensions
    if dimensions <= most:
        return None
    return f"driver {store.name} takes at most {most} dimensions, the model has {dimensions}"


class Sources:
    """All sources by name. Drivers and embedders are shared by the sources that name them.

    ``default`` is the name of the one that requests mean which name none. ``writes``: to stores; else
    the model of a space that is merely built need not be there.
    """

    def __init__(
        self,
        by_name: Mapping[str, Source],
        stores: Mapping[str, Store],
        embedders: Mapping[str, Embedder],
        open_embedder: Callable[[str, str], Awaitable[Embedder]],
        default: str,
        *,
        writes: bool = True,
    ) -> None:
        self.by_name = dict(by_name)
        self.default = default
        self.stores = stores
        self._writes = writes
        self._embedders = dict(embedders)
        self._open_embedder = open_embedder
        self._opening = asyncio.Lock()

    @property
    def brought(self) -> dict[str, int | None]:
        """For each source the dimensions of vectors that callers bring; None where it embeds texts.

        The default one stands under ``DEFAULT`` too.
        """
        dimensions = {name: source.brought for name, source in self.by_name.items()}
        return {DEFAULT: dimensions[self.default]} | dimensions

    def named(self, name: str) -> Source | None:
        """The source of that name; ``DEFAULT`` is another name of the default one."""
        return self.by_name.get(self.default if name == DEFAULT else name)

    async def look(self, journal: Journal) -> None:
        """Learn who the members of each source are by now, and in which space they are.

        Raises ``Unavailable`` or ``ConfigError`` where a model cannot be had: that source stays as it was.
        """
        for name, belonging in (await members(journal, self.by_name)).items():
            if belonging.states:
                self.by_name[name] = self.by_name[name].with_members(belonging)
        failed: MemrelayError | None = None
        for name, known in (await spaces(journal, self.by_name)).items():
            if (known.epoch, known.at) != (
                self.by_name[name].spaces.epoch,
                self.by_name[name].spaces.at,
            ):
                try:
                    await self._move(name, known)
                except MemrelayError as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    async def _move(self, name: str, known: Spaces) -> None:
        """The source in the spaces that hold now; a request that has begun goes on with the old value."""
        source = self.by_name[name]
        active, building = source.embedder, None
        if known.active and known.active != written(source.space):
            active = await self._embedder(source.name, read(known.active))
        if known.building and self._writes:
            building = await self._embedder(source.name, read(known.building))
        for store in self.stores.values():
            store.mirrors.pop(source.name, None)
            if building is not None:
                store.mirrors[source.name] = building
        space = active.space if active is not None else source.space
        self.by_name[name] = replace(
            self.by_name[name], embedder=active, space=space, spaces=known, building=building
        )

    async def _embedder(self, name: str, space: Space) -> Embedder:
        embedder = await self.embedder(name, space.model)
        if embedder.space != space:
            raise ConfigError(
                f"source {name} has vectors of {space.dimensions} dimensions by {space.model}, which "
                f"makes {embedder.space.dimensions} here"
            )
        return embedder

    async def embedder(self, name: str, model: str) -> Embedder:
        """A model by which a source is embedded, or could be; raises what opening it raises."""
        async with self._opening:
            if model not in self._embedders:
                self._embedders[model] = await self._open_embedder(name, model)
        return self._embedders[model]

    async def close(self) -> None:
        for store in self.stores.values():
            await store.close()
        for embedder in self._embedders.values():
            await embedder.close()


def create_stores(settings: Settings) -> dict[str, Store]:
    """The drivers by name; not opened yet."""
    return {
        name: Store(
            name, create_driver(name, settings.drivers[name]), timeout=settings.driver_timeout
        )
        for name in settings.driver_names
    }


async def open_sources(
    settings: Settings,
    wrap: Callable[[Embedder], Embedder] = lambda embedder: embedder,
    *,
    writes: bool = True,
) -> Sources:
    """Create drivers, open embedders (in a cache, by ``wrap``), check dimensions.

    ``writes``: whether this process writes to stores.

    Raises ``ConfigError`` in one line for what does not fit, ``Unavailable`` for a model that has to be
    asked for its dimensions and does not answer.
    """
    stores = create_stores(settings)
    embedders: dict[str, Embedder] = {}
    by_name = {}
    for name, source in settings.sources.items():
        embedder = None
        if source.embedding != EXTERNAL:
            if source.embedding not in embedders:
                embedders[source.embedding] = wrap(await _open_embedder(name, source, settings))
            embedder = embedders[source.embedding]
        space = _space(name, source, embedder)
        chosen = tuple(stores[driver] for driver in source.drivers)
        by_name[name] = Source(name, source, chosen, embedder, space, stores)
        for store in chosen:
            if (reason := by_name[name].refuses(store)) is not None:
                raise ConfigError(f"sources.{name}: {reason}")

    async def another(name: str, model: str) -> Embedder:
        asked = settings.sources[name].model_copy(update={"embedding": model, "dimensions": None})
        return wrap(await _open_embedder(name, asked, settings))

    return Sources(by_name, stores, embedders, another, settings.default_source, writes=writes)


async def enter_members(journal: Journal, settings: Settings) -> None:
    """Tell the journal, once at a process's start, which drivers the sources have here."""
    for name, source in settings.sources.items():
        if await enter(journal, name, source.drivers):
            log.info("source %s: its drivers are %s", name, ", ".join(source.drivers))
    known = await members(journal, settings.sources)
    moved = await spaces(journal, settings.sources)
    for name, source in settings.sources.items():
        if moved[name].active and read(moved[name].active).model != source.embedding:
            log.warning(
                "source %s was embedded anew by %s, which is used; its settings say %s: set "
                "sources.%s.embedding",
                name,
                read(moved[name].active).model,
                source.embedding,
                name,
            )
        for driver in known[name].order(source.drivers):
            if driver not in settings.drivers:
                log.warning(
                    "driver %s belongs to source %s and is not configured here: what is accepted "
                    "waits for it (or: memrelay retire %s --source %s)",
                    driver,
                    name,
                    driver,
                    name,
                )


async def _open_embedder(name: str, source: SourceSettings, settings: Settings) -> Embedder:
    options = dict(settings.models.get(source.embedding, {}))
    if source.dimensions is not None:
        options.setdefault("dimensions", source.dimensions)
    setting = f"sources.{name}.embedding"
    try:
        # Its library may take seconds to import, while this process goes on serving.
        embedder = await asyncio.to_thread(create_embedder, source.embedding, options)
        await embedder.open()
    except Transient as error:
        message = f"{setting} {source.embedding!r}{_place(options.get('api_base'))}: {error}"
        if error.code in UNTIL_MENDED:
            raise ConfigError(message) from None
        raise Unavailable(message) from None
    except Permanent as error:
        raise ConfigError(f"{setting} {source.embedding!r}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{setting}: {error}") from None
    return embedder


def _place(url: object) -> str:
    """Where a model is served, without what may be secret in its address."""
    return f" at {urlsplit(url).netloc.rpartition('@')[2]}" if isinstance(url, str) else ""


def _space(name: str, source: SourceSettings, embedder: Embedder | None) -> Space:
    if embedder is None:
        assert source.dimensions is not None
        return Space(EXTERNAL, source.dimensions)
    if source.dimensions not in (None, embedder.space.dimensions):
        raise ConfigError(
            f"sources.{name}.dimensions is {source.dimensions}, but {source.embedding} has "
            f"{embedder.space.dimensions}"
        )
    return embedder.space
