"""Settings: ``memrelay.toml``, then ``MEMRELAY_*``. Built once by a process and passed in.

Needs the ``server`` extra. A wrong value raises ``ConfigError`` with one line that says which.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
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
from memrelay.seeds import CONFIG_FILE, seed_drivers
from memrelay.sentinels import sentinels_of, watched
from memrelay.types import FieldType

DEFAULT = "default"
BROKERS = ("redis", "rediss", "amqp", "amqps")
JOURNALS = ("redis", "rediss", "unix")
LogFormat = Literal["text", "json"]
Toolset = Literal["mem0", "openmemory", "agent_memory_server", "automem", "beam_me_prompty"]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")


class SourceSettings(BaseModel):
    """One named destination of memories."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

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
    default: bool = False
    """Used where a request names no source; of one source at most."""
    options: dict[str, Any] = {}
    """Whatever ``GET /v1/sources`` shall tell of it besides. Everybody who may read sees it: no secrets."""

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
    """Celery's broker: ``redis://…``, ``redis+sentinel://…`` or ``amqp://…``."""
    journal_url: str = "redis://127.0.0.1:6379/0"
    """Redis >= 8 with AOF and noeviction: holds every accepted envelope until it has ended. One server,
    or ``redis+sentinel://host:port,host:port/master/database``."""
    journal_replicas: int = Field(default=0, ge=0, le=16)
    """Replicas of the journal that must hold a write before it is answered with 202; at fewer it is 503.
    1 where a replica may be made the master, or a failover loses what was accepted just before."""
    durability: Literal["everysec", "fsync"] = "everysec"
    """``everysec`` may lose 2 s on power loss; ``fsync`` needs ``appendfsync always``."""
    host: str = "127.0.0.1"
    """Address that the API listens on."""
    port: int = Field(default=8700, ge=1, le=65535)
    """Port that the API listens on."""
    log_format: LogFormat = "text"
    """``text`` for people, ``json`` for machines: an object a line, of API, workers and their libraries."""
    drivers: dict[str, dict[str, Any]] = {}
    """Stores by name; ``type`` defaults to the name, the rest are the driver's own settings."""
    sources: dict[str, SourceSettings] = {}
    """Sources by name. One is used where a request names none: that with ``default = true``, or else the
    one of that name."""
    models: dict[str, dict[str, Any]] = {}
    """Options of remote embedding models by ``provider/model``: api_base, api_key, timeout, …"""
    driver_timeout: float = Field(default=10.0, gt=0)
    """Seconds that one ``apply`` of one driver may take."""
    search_timeout: float = Field(default=5.0, gt=0)
    """Seconds that a search may take in all, unless the request says less."""
    embedding_cache_bytes: int = Field(default=256 * 2**20, ge=0)
    """Bound of the cache of remote models' vectors in the journal's Redis; 0 switches it off."""
    journal_bytes: int = Field(default=2 * 2**30, ge=2**20)
    """Bytes of accepted memories that the journal holds at most; beyond them writes are 429."""
    journal_memories: int = Field(default=2_000_000, ge=1000)
    """Memories that are accepted and not stored in all drivers yet, at most; beyond them writes are 429."""
    namespace_bytes: int = Field(default=2**30, ge=2**20)
    """The same as ``journal_bytes``, of one namespace."""
    namespace_memories: int = Field(default=1_000_000, ge=1000)
    """The same as ``journal_memories``, of one namespace."""
    namespace_rate: int = Field(default=0, ge=0)
    """Memories a second that one namespace may write, in bursts of ten seconds' worth; 0: no quota."""
    driver_backlog: int = Field(default=200_000, ge=1)
    """Memories that a driver has not taken when asked, before it is detached; reconcile brings it what it
    misses then."""
    dead_letter_limit: int = Field(default=64, ge=1)
    """Memories that a driver or model may refuse while it refuses more than it takes, before the rest is
    held back and there is an alarm."""
    linger_ms: float = Field(default=10.0, ge=0, le=100)
    """How long a group commit gathers under load."""
    body_limit: int = Field(default=8 * 2**20, ge=1024)
    """Bytes of a request's body."""
    namespace: str = Field(default="default", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """The installation's own namespace: that of requests while there is no API key. Once there is one, what
    concerns all namespaces (drivers, metrics, keys of others) needs a key of this one."""
    admin_key: SecretStr | None = Field(default=None, min_length=32)
    """A key that may do everything in ``namespace`` and make keys for others, 32 random characters at least.
    With it keys are asked for from the start. Not needed: ``memrelay keys create`` makes the first key."""
    worker_concurrency: int = Field(default=2, ge=1)
    """Processes of one ``memrelay worker`` for the bulk lane, for what is stored later, and for upkeep."""
    interactive_concurrency: int = Field(default=1, ge=1)
    """Its processes for the interactive lane alone, so that no import delays a single write."""
    bulk_niceness: int = Field(default=19, ge=0, le=19)
    """How much the processes of ``worker_concurrency`` leave the CPU to others, as of ``nice``."""
    bulk_share: float = Field(default=0.2, gt=0, le=1)
    """Part of its time that a process spends on bulk work while single writes have to wait for a worker, and
    during the next hundred of them; 1: all of it."""
    mcp_toolsets: list[Toolset] = ["mem0"]
    """Tools that are served over MCP at ``/mcp``, if the extra ``mcp`` is installed; too many hurt agents."""
    mcp_user: str | None = Field(default=None, min_length=1, max_length=256)
    """User whose memories the tools mean where nobody is named."""
    mcp_hosts: list[str] = []
    """Names, besides loopback's and ``host``, by which ``/mcp`` may be reached, with any port."""
    mcp_origins: list[str] = []
    """Web pages, such as ``https://chat.example.com``, that may reach ``/mcp`` besides those of loopback."""

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

    @field_validator("admin_key", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None  # as compose files and charts leave it

    @field_validator("broker_url")
    @classmethod
    def _names_a_broker(cls, url: str) -> str:
        if watched(url):
            sentinels_of(url)
            return url
        return checked_url(url, BROKERS, "redis://127.0.0.1:6379/1 or amqp://127.0.0.1:5672")

    @field_validator("journal_url")
    @classmethod
    def _names_a_journal(cls, url: str) -> str:
        if watched(url):
            sentinels_of(url)
            return url
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
        self._one_default()
        return self

    def _one_default(self) -> None:
        marked = [name for name, source in self.sources.items() if source.default]
        if DEFAULT in self.sources and marked not in ([], [DEFAULT]):
            marked = [DEFAULT, *marked]  # the name says it already
        if len(marked) > 1:
            raise ValueError(f"sources: there can be one default, not {' and '.join(marked)}")
        if self.sources and not marked and DEFAULT not in self.sources:
            raise ValueError(
                "sources.default is missing: name one source so, or set default = true in one "
                f"(there: {', '.join(sorted(self.sources))})"
            )

    @property
    def default_source(self) -> str:
        """The name of the source that is used where a request names none."""
        marked = (name for name, source in self.sources.items() if source.default)
        return next(marked, DEFAULT)

    @property
    def admin_key_text(self) -> str | None:
        return None if self.admin_key is None else self.admin_key.get_secret_value()

    @property
    def driver_names(self) -> list[str]:
        """All drivers, each once: those that sources name, in their order, then those to migrate to."""
        used = [driver for source in self.sources.values() for driver in source.drivers]
        return list(dict.fromkeys([*used, *self.drivers]))


def load_settings() -> Settings:
    """The settings of this process, or ``ConfigError`` in one line."""
    known = os.environ.get("MEMRELAY_CONFIG")
    if known and not Path(known).is_file():
        raise ConfigError(f"MEMRELAY_CONFIG names {known}, which is not a file")
    try:
        settings = Settings(**_seed_names())
    except ValidationError as error:
        raise ConfigError(_first_line(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{known or CONFIG_FILE}: {error}") from None
    except (SettingsError, ValueError) as error:
        raise ConfigError(f"settings: {error}".splitlines()[0]) from None
    if not settings.sources:
        names = list(settings.drivers)
        if not names:
            raise ConfigError(
                "no drivers are configured: set [drivers.<name>] in memrelay.toml, REDIS_URL, "
                "WEAVIATE_URL or DATABASE_URL (or start everything with: memrelay up)"
            )
        settings = settings.model_copy(update={"sources": {DEFAULT: SourceSettings(drivers=names)}})
    return settings


def _first_line(error: ValidationError) -> str:
    """The first thing that is wrong: which, where in the file, and what was meant where it is unknown."""
    found = error.errors()
    # One that there is not explains another that is missing.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    where = ".".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    if not where:
        return message
    if first["type"] == "extra_forbidden":
        fields = Settings if len(first["loc"]) == 1 else SourceSettings
        near = difflib.get_close_matches(str(first["loc"][-1]), fields.model_fields, n=1)
        message = f"there is no such setting{f', did you mean {near[0]}?' if near else ''}"
    return f"setting {where}{_line_of(str(first['loc'][-1]))}: {message}"


def _line_of(key: str) -> str:
    """Where the settings file has a key, as far as that can be told without parsing it again."""
    path = Path(os.environ.get("MEMRELAY_CONFIG", CONFIG_FILE))
    if not path.is_file():
        return ""
    named = re.compile(rf"\s*(\[+[^\]]*)?[\"']?{re.escape(key)}[\"']?\s*[=\]]")
    lines = path.read_text().splitlines()
    found = [number for number, line in enumerate(lines, 1) if named.match(line)]
    return f" ({path} line {found[0]})" if len(found) == 1 else ""


def _seed_names() -> dict[str, Any]:
    """The drivers that ``SEED_NAMES`` ask for, where no settings of ours name any."""
    if any(key.startswith("MEMRELAY_DRIVERS") for key in os.environ):
        return {}
    if Path(os.environ.get("MEMRELAY_CONFIG", CONFIG_FILE)).is_file():
        return {}
    drivers = seed_drivers()
    return {"drivers": drivers} if drivers else {}
