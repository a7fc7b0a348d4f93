"""The configured sources with their stores and embedders, for one event loop of one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from backends.registry import create_driver, create_embedder
from backends.store import Store
from memrelay.embedder import Embedder
from memrelay.errors import ConfigError, Permanent, Transient, Unavailable
from memrelay.settings import Settings, SourceSettings
from memrelay.types import Scope, Space

EXTERNAL = "external"
UNTIL_MENDED = ("embedding_credentials", "embedding_model")
"""Codes of an ``Unavailable`` that no waiting helps: a setting has to be mended."""


@dataclass(frozen=True, slots=True)
class Source:
    """A named destination, ready for use. ``embedder`` is None where callers bring vectors."""

    name: str
    settings: SourceSettings
    stores: tuple[Store, ...]
    embedder: Embedder | None
    space: Space

    def scope(self, namespace: str) -> Scope:
        return Scope(
            namespace=namespace,
            source=self.name,
            space=self.space,
            fields=self.settings.filterable,
        )

    def store(self, name: str) -> Store | None:
        return next((store for store in self.stores if store.name == name), None)


class Sources:
    """All sources by name. Drivers and embedders are shared by the sources that name them."""

    def __init__(
        self,
        by_name: Mapping[str, Source],
        stores: Mapping[str, Store],
        embedders: Mapping[str, Embedder],
    ) -> None:
        self.by_name = by_name
        self.stores = stores
        self._embedders = embedders

    async def close(self) -> None:
        for store in self.stores.values():
            await store.close()
        for embedder in self._embedders.values():
            await embedder.close()


def create_stores(settings: Settings) -> dict[str, Store]:
    """The drivers that some source uses, by name; not opened yet."""
    return {
        name: Store(
            name, create_driver(name, settings.drivers[name]), timeout=settings.driver_timeout
        )
        for name in settings.driver_names
    }


async def open_sources(
    settings: Settings, wrap: Callable[[Embedder], Embedder] = lambda embedder: embedder
) -> Sources:
    """Create drivers, open embedders (in a cache, by ``wrap``), check dimensions.

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
        for store in chosen:
            if space.dimensions > store.driver.capabilities.max_dimensions:
                raise ConfigError(
                    f"sources.{name}: driver {store.name} takes at most "
                    f"{store.driver.capabilities.max_dimensions} dimensions, the model has {space.dimensions}"
                )
        by_name[name] = Source(name, source, chosen, embedder, space)
    return Sources(by_name, stores, embedders)


async def _open_embedder(name: str, source: SourceSettings, settings: Settings) -> Embedder:
    options = dict(settings.models.get(source.embedding, {}))
    if source.dimensions is not None:
        options.setdefault("dimensions", source.dimensions)
    setting = f"sources.{name}.embedding"
    try:
        embedder = create_embedder(source.embedding, options)
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
