"""Settings: ``memrelay.toml``, then ``MEMRELAY_*``. Built once by a process and passed in.

Needs the ``server`` extra. A wrong value raises ``ConfigError`` with one line that says which.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from memrelay.errors import ConfigError
from memrelay.options import checked_url
from memrelay.types import FieldType

CONFIG_FILE = "memrelay.toml"
BROKERS = ("redis", "rediss", "amqp", "amqps")
JOURNALS = ("redis", "rediss", "unix")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")


class SourceSettings(BaseModel):
    """One named destination of memories."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    drivers: list[str] = Field(min_length=1)
    """Names under ``drivers``, in order; the first is the primary."""
    embedding: str = "local/wordllama"
    """``local/wordllama``, ``external`` (callers bring vectors) or ``provider/model``."""
    dimensions: int | None = Field(default=None, ge=1, le=4096)
    """Of the vectors; needed for ``external``, checked against the model otherwise."""
    filterable: dict[str, FieldType] = {}
    """Metadata fields with every filter operator, and their types."""
    description: str = ""
    """What the source holds, for people and agents."""

    @model_validator(mode="after")
    def _external_needs_dimensions(self) -> SourceSettings:
        if self.embedding == "external" and self.dimensions is None:
            raise ValueError('embedding = "external" needs dimensions')
        if len(set(self.drivers)) != len(self.drivers):
            raise ValueError("a driver is named twice in drivers")
        return self


class Settings(BaseSettings):
    """All settings of a memrelay installation."""

    model_config = SettingsConfigDict(
        env_prefix="MEMRELAY_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    broker_url: str = "redis://127.0.0.1:6379/1"
    """Celery's broker: ``redis://…`` or ``amqp://…``."""
    journal_url: str = "redis://127.0.0.1:6379/0"
    """Redis >= 8 with AOF and noeviction: holds every accepted envelope until it has ended."""
    durability: Literal["everysec", "fsync"] = "everysec"
    """``everysec`` may lose 2 s on power loss; ``fsync`` needs ``appendfsync always``."""
    host: str = "127.0.0.1"
    """Address that the API listens on."""
    port: int = Field(default=8700, ge=1, le=65535)
    """Port that the API listens on."""
    drivers: dict[str, dict[str, Any]] = {}
    """Stores by name; ``type`` defaults to the name, the rest are the driver's own settings."""
    sources: dict[str, SourceSettings] = {}
    """Sources by name; ``default`` is used where a request names none."""
    models: dict[str, dict[str, Any]] = {}
    """Options of remote embedding models by ``provider/model``: api_base, api_key, timeout, …"""
    driver_timeout: float = Field(default=10.0, gt=0)
    """Seconds that one ``apply`` of one driver may take."""
    search_timeout: float = Field(default=5.0, gt=0)
    """Seconds that a search may take in all, unless the request says less."""
    embedding_cache_bytes: int = Field(default=256 * 2**20, ge=0)
    """Bound of the cache of remote models' vectors in the journal's Redis; 0 switches it off."""
    linger_ms: float = Field(default=10.0, ge=0, le=100)
    """How long a group commit gathers under load."""
    body_limit: int = Field(default=8 * 2**20, ge=1024)
    """Bytes of a request's body."""
    worker_concurrency: int = Field(default=2, ge=1)
    """Processes of one ``memrelay worker``."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = Path(os.environ.get("MEMRELAY_CONFIG", CONFIG_FILE))
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path))

    @field_validator("broker_url")
    @classmethod
    def _names_a_broker(cls, url: str) -> str:
        return checked_url(url, BROKERS, "redis://127.0.0.1:6379/1 or amqp://127.0.0.1:5672")

    @field_validator("journal_url")
    @classmethod
    def _names_a_journal(cls, url: str) -> str:
        return checked_url(url, JOURNALS, "redis://127.0.0.1:6379/0")

    @model_validator(mode="after")
    def _names_fit(self) -> Settings:
        for kind, names in (("drivers", self.drivers), ("sources", self.sources)):
            for name in names:
                if not _NAME.match(name):
                    raise ValueError(
                        f"{kind}.{name}: names are lower-case letters, digits, _ and -"
                    )
        for name, source in self.sources.items():
            for driver in source.drivers:
                if driver not in self.drivers:
                    known = ", ".join(sorted(self.drivers)) or "none"
                    raise ValueError(
                        f"sources.{name}.drivers names {driver!r}, which is not under drivers "
                        f"(there: {known})"
                    )
        return self

    @property
    def driver_names(self) -> list[str]:
        """The drivers that some source uses, each once, in order."""
        used = [driver for source in self.sources.values() for driver in source.drivers]
        return list(dict.fromkeys(used))


def load_settings() -> Settings:
    """The settings of this process, or ``ConfigError`` in one line."""
    known = os.environ.get("MEMRELAY_CONFIG")
    if known and not Path(known).is_file():
        raise ConfigError(f"MEMRELAY_CONFIG names {known}, which is not a file")
    try:
        settings = Settings(**_seed_names())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        raise ConfigError(f"setting {where}: {message}" if where else message) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{known or CONFIG_FILE}: {error}") from None
    except (SettingsError, ValueError) as error:
        raise ConfigError(f"settings: {error}".splitlines()[0]) from None
    if not settings.sources:
        names = list(settings.drivers)
        if not names:
            raise ConfigError(
                "no drivers are configured: set [drivers.<name>] in memrelay.toml, REDIS_URL or "
                "WEAVIATE_URL (or start everything with: memrelay up)"
            )
        settings = settings.model_copy(
            update={"sources": {"default": SourceSettings(drivers=names)}}
        )
    elif "default" not in settings.sources:
        raise ConfigError("sources.default is missing: one source must have that name")
    return settings


def _seed_names() -> dict[str, Any]:
    """The variables that four existing systems already set, where ours are not."""
    drivers: dict[str, dict[str, Any]] = {}
    for name, variable in (("redis", "REDIS_URL"), ("weaviate", "WEAVIATE_URL")):
        ours = any(key.startswith(f"MEMRELAY_DRIVERS__{name.upper()}__") for key in os.environ)
        if variable in os.environ and not ours:
            drivers[name] = {"url": os.environ[variable]}
    if not drivers or any(key.startswith("MEMRELAY_DRIVERS") for key in os.environ):
        return {}
    if Path(os.environ.get("MEMRELAY_CONFIG", CONFIG_FILE)).is_file():
        return {}
    return {"drivers": drivers}
