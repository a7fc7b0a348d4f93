"""Addresses of a Redis that Sentinels watch over: ``redis+sentinel://HOST:PORT,HOST:PORT/MASTER/DATABASE``.

User and password before the hosts are the Redis's own; ``?sentinel_password=…`` is the Sentinels'.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SCHEME = "redis+sentinel"
EXAMPLE = f"{SCHEME}://sentinel-1:26379,sentinel-2:26379,sentinel-3:26379/mymaster/0"
PORT = 26379
_HOST = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{1,5}))?\Z")
_PATH = re.compile(r"/(?P<master>[A-Za-z0-9._-]+)(?:/(?P<database>[0-9]{1,4}))?\Z")
_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Sentinels:
    """``master`` is the name under which they watch; ``database`` is of the Redis."""

    hosts: Sequence[tuple[str, int]]
    master: str
    database: int
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    sentinel_password: str | None = field(repr=False)

    @property
    def place(self) -> str:
        """Without what is secret."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{hosts}/{self.master}/{self.database}"

    @property
    def kombu_url(self) -> str:
        """The same for Celery, which takes the master's name apart from it."""
        user, secret = quote(self.username or "", safe=""), quote(self.password or "", safe="")
        login = f"{user}:{secret}@" if user or secret else ""
        return ";".join(
            f"sentinel://{login}{f'[{host}]' if ':' in host else host}:{port}/{self.database}"
            for host, port in self.hosts
        )


def watched(url: str) -> bool:
    """Whether it is such an address at all."""
    return url.startswith(f"{SCHEME}://")


def sentinels_of(url: str) -> Sentinels:
    """``ValueError`` with an example, and not with the URL, which may hold a password."""
    try:
        return _parsed(url)
    except ValueError:
        raise ValueError(f"give an address such as {EXAMPLE}") from None


def _parsed(url: str) -> Sentinels:
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    path = _PATH.match(parts.path)
    options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    sentinel_password = options.pop("sentinel_password", None)
    if parts.scheme != SCHEME or path is None or options or parts.fragment:
        raise ValueError("not such an address")
    return Sentinels(
        hosts=[_host(text) for text in hosts.split(",")],
        master=path["master"],
        database=int(path["database"] or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_password=sentinel_password,
    )


def _host(text: str) -> tuple[str, int]:
    found = _HOST.match(text)
    port = int(found["port"] or PORT) if found else 0
    if found is None or not 0 < port <= _HIGHEST_PORT:
        raise ValueError("no host and port")
    return found["host"].strip("[]"), port
