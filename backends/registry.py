"""The one lazy place: drivers and embedders are imported when a setting names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from memrelay.driver import Driver
from memrelay.embedder import Embedder
from memrelay.errors import ConfigError

GROUP = "memrelay.drivers"
BUILT_IN = {
    "redis": "backends.redis:create",
    "weaviate": "backends.weaviate:create",
    "pgvector": "backends.pgvector:create",
    "sqlite": "backends.sqlite:create",
    "automem": "backends.automem:create",
    "custom": "backends.custom:create",
}
EXTRAS = {
    "weaviate": "weaviate",
    "psycopg": "pgvector",
    "apsw": "sqlite",
    "sqlite_vec": "sqlite",
    "litellm": "litellm",
    "opentelemetry": "otel",
}


def driver_types() -> dict[str, str]:
    """Type name → ``module:function`` of every driver that is installed."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP)} | BUILT_IN


def create_driver(name: str, settings: Mapping[str, Any]) -> Driver:
    """The driver under ``drivers.<name>``, not opened; ``ConfigError`` if there is no such type."""
    options = dict(settings)
    kind = str(options.pop("type", name))
    types = driver_types()
    if kind not in types:
        known = ", ".join(sorted(types))
        raise ConfigError(f"drivers.{name}: unknown driver type {kind!r}; there are: {known}")
    create: Callable[[str, Mapping[str, Any]], Driver] = load(types[kind], f"drivers.{name}")
    return create(name, options)


def create_embedder(model: str, options: Mapping[str, Any]) -> Embedder:
    """The embedder of a model, not opened; ``ConfigError`` if there is no such model here."""
    create: Callable[[str, Mapping[str, Any]], Embedder] = load(
        "backends.embedding:create", f"embedding {model!r}"
    )
    return create(model, options)


def load(path: str, what: str) -> Any:
    """``module:attribute``, imported now; ``ConfigError`` says which package is missing for ``what``."""
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = EXTRAS.get(missing)
        mend = f"pip install 'memrelay[{extra}]'" if extra else "install it"
        raise ConfigError(f"{what}: the package {error.name} is missing: {mend}") from None
    except ImportError as error:
        raise ConfigError(f"{what}: {module} cannot be imported: {error}") from None
    except AttributeError:
        raise ConfigError(f"{what}: {module} has no {attribute}") from None
