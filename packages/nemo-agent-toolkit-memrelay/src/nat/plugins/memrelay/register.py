"""The memory provider ``memrelay``: its settings, and how NAT gets an editor."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal

from nat.plugin_api import (
    Builder,
    MemoryBaseConfig,
    MemoryEditor,
    OptionalSecretStr,
    get_secret_value,
    register_memory,
)
from pydantic import Field


class MemrelayMemoryConfig(MemoryBaseConfig, name="memrelay"):
    """Memories in a running memrelay."""

    base_url: str | None = Field(
        default=None,
        description="Where memrelay is; MEMRELAY_URL, else http://127.0.0.1:8700, if left out.",
    )
    api_key: OptionalSecretStr = Field(
        default=None, description="An API key of memrelay; MEMRELAY_API_KEY if left out."
    )
    source: str = Field(default="default", description="The source that holds the memories.")
    wait: Literal["stored", "accepted"] = Field(
        default="stored",
        description="stored: what was added is found by the next search. accepted: it is on its way.",
    )
    wait_seconds: float = Field(
        default=30.0,
        gt=0,
        le=60,
        description="How long to wait at most, for what is added (with wait: stored) or deleted.",
    )
    timeout: float = Field(
        default=30.0, gt=0, description="Seconds without a byte after which a request has failed."
    )
    patience: float = Field(
        default=10.0,
        ge=0,
        description="Seconds for which a request is repeated while memrelay is away or busy.",
    )


@register_memory(config_type=MemrelayMemoryConfig)
async def memrelay_memory(
    config: MemrelayMemoryConfig, _builder: Builder
) -> AsyncGenerator[MemoryEditor, None]:
    """An editor with a client of its own, closed when NAT is done with it."""
    from nat.plugins.memrelay.editor import MemrelayEditor  # noqa: PLC0415

    from memrelay.client import AsyncMemrelay  # noqa: PLC0415 - NAT's start waits for no plugin

    client = AsyncMemrelay(
        config.base_url,
        api_key=get_secret_value(config.api_key),
        timeout=config.timeout,
        patience=config.patience,
    )
    try:
        yield MemrelayEditor(
            client,
            source=config.source,
            add_wait=config.wait_seconds if config.wait == "stored" else 0.0,
            remove_wait=config.wait_seconds,
        )
    finally:
        await client.close()
