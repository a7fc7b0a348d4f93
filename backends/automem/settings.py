"""The settings under ``drivers.<name>`` of an AutoMem driver."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from memrelay.options import Options, checked_url

EXAMPLE = "http://127.0.0.1:8001"
VARIABLES = (("url", "AUTOMEM_ENDPOINT"), ("token", "AUTOMEM_API_TOKEN"))
"""What AutoMem's own clients read."""


def _address(url: str) -> str:
    parts = urlsplit(checked_url(url, ("http", "https"), EXAMPLE))
    if not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError(f"give an address such as {EXAMPLE}, and the token by itself")
    return url.rstrip("/")


class Settings(Options):
    """``url`` is the service's address, below which its paths lie."""

    url: Annotated[str, AfterValidator(_address), Field(examples=[EXAMPLE])]
    """The address of its HTTP API."""
    token: str | None = Field(default=None, pattern=r"^[!-~]+$", repr=False)
    """AUTOMEM_API_TOKEN of the service; sent as ``Authorization: Bearer``."""
    timeout: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Seconds that one request may take; a call of ours is several."""
    connections: int = Field(default=8, ge=1, le=64)
    """Requests at a time."""
    page: int = Field(default=200, ge=20, le=200)
    """Memories in one answer; AutoMem gives 200 at most."""
    lookup: int = Field(default=64, ge=1, le=200)
    """Tags in one request: 64 make an address of 3 kB, and many servers take no more than 4."""
    batch: int = Field(default=128, ge=1, le=500)
    """Memories in one write; AutoMem takes 500 at most, and embeds them before it answers."""
    content_limit: int = Field(default=2000, ge=1)
    """Characters of ``content``: MEMORY_CONTENT_HARD_LIMIT of the service. Nothing of ours is lost by it."""
    max_answer: int = Field(default=128 << 20, ge=1 << 20)
    """Bytes of one answer that are read; a page of the largest memories takes half of the default."""
