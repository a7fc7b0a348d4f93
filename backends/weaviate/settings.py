"""The settings under ``drivers.<name>`` of a Weaviate driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from memrelay.errors import ConfigError

PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``url`` is REST; gRPC is on the same host, encrypted if ``url`` is."""

    url: str
    grpc_port: int = 50051
    api_key: str | None = None
    timeout: float = 10.0
    """Seconds that one call of the client may take."""

    @property
    def secure(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or PORTS[parts.scheme]


def parse(name: str, raw: Mapping[str, Any]) -> Settings:
    """``ConfigError`` names the key that is wrong."""
    where = f"drivers.{name}"
    known = [field.name for field in fields(Settings)]
    for key in raw:
        if key not in known:
            raise ConfigError(f"{where}.{key}: unknown setting; there are: {', '.join(known)}")
    if not _is_address(raw.get("url")):
        raise ConfigError(f"{where}.url: give an address such as http://127.0.0.1:8080")
    grpc_port = raw.get("grpc_port", 1)
    if type(grpc_port) is not int or not 1 <= grpc_port <= _LAST_PORT:
        raise ConfigError(f"{where}.grpc_port: give a port such as 50051")
    api_key = raw.get("api_key")
    if api_key is not None and not (isinstance(api_key, str) and api_key):
        raise ConfigError(f"{where}.api_key: give the key as a string, or leave it out")
    timeout = raw.get("timeout", 1)
    if type(timeout) not in (int, float) or not 0 < timeout < float("inf"):
        raise ConfigError(f"{where}.timeout: give a number of seconds above 0")
    settings = Settings(**raw)
    if settings.port == settings.grpc_port:
        raise ConfigError(f"{where}.grpc_port: the same port as in url; gRPC has one of its own")
    return settings


def _is_address(url: object) -> bool:
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in PORTS
            and bool(parts.hostname)
            and parts.port != 0
            and parts.path in ("", "/")
            and not parts.username
            and not parts.query
        )
    except ValueError:  # a port that is no number
        return False
