"""The settings under ``drivers.<name>`` of a Redis driver."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from memrelay.options import Options, checked_url

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
EXAMPLE = "redis://127.0.0.1:6379/0"
Count = Annotated[int, Field(ge=1, le=4096)]


def _address(url: str) -> str:
    return checked_url(url, SCHEMES, EXAMPLE)


class Settings(Options):
    """``partitions``, ``directory_shards`` and ``prefix`` are fixed once a store has data."""

    url: Annotated[str, AfterValidator(_address), Field(examples=[EXAMPLE])]
    """Redis >= 8; not the journal's, outside embedded use."""
    partitions: Count = 16
    """Partitions for memories without a user."""
    directory_shards: Count = 64
    """Shards of the id directory and of the list of partitions."""
    scatter: Count = 64
    """Partitions that one search without a user may touch."""
    prefix: str = Field(default="mr", pattern=r"^[A-Za-z0-9_:.-]{1,64}$")
    """Of all keys; installations in one Redis need one each."""

    @field_validator("scatter")
    @classmethod
    def _reaches_all_partitions(cls, scatter: int, info: ValidationInfo) -> int:
        if scatter < info.data.get("partitions", 1):
            raise ValueError("less than partitions, so no search could run")
        return scatter
