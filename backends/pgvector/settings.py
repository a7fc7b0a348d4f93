"""The settings under ``drivers.<name>`` of a pgvector driver."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field

from memrelay.options import Options, checked_url

SCHEMES = ("postgresql", "postgres")
EXAMPLE = "postgresql://memrelay@127.0.0.1:5432/memrelay"

IndexKind = Literal["hnsw", "ivfflat", "none"]


def _address(url: str) -> str:
    """What libpq says of a URL that it cannot read may hold the password: it is not passed on."""
    checked_url(url, SCHEMES, EXAMPLE)
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        raise ValueError(f"give an address such as {EXAMPLE}") from None
    return url


class Settings(Options):
    """``schema`` and everything in it are made when they are missing."""

    url: Annotated[str, AfterValidator(_address), Field(examples=[EXAMPLE])]
    """PostgreSQL >= 15 with pgvector >= 0.8."""
    schema_: str = Field(
        default="memrelay", alias="schema", pattern=r"^[a-z_][a-z0-9_]{0,47}$", max_length=48
    )
    """The schema of our tables; installations in one database need one each."""
    connections: int = Field(default=8, ge=1, le=256)
    """Connections of one process, at most."""
    timeout: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Seconds that one call may take; the server ends by itself what takes longer."""
    index: IndexKind = "hnsw"
    """Of a space's vectors, built beside the running service once a scope has outgrown ``exact_rows``."""
    exact_rows: int = Field(default=20_000, ge=0)
    """Memories of a scope up to which every vector is compared, whether there is an index or not."""

    @property
    def place(self) -> str:
        """Where it is, without what may be secret."""
        parts = urlsplit(self.url)
        return f"PostgreSQL at {parts.netloc.rpartition('@')[2]}{parts.path}"
