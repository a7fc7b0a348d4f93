"""LiteLLM's HTTP clients follow redirects; ours do not.

One would carry texts to another host, and a key with them where the provider has a header of its own for it.
"""

from __future__ import annotations

from typing import Any

import httpx
import litellm
from litellm.caching.llm_caching_handler import LLMClientCache
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler


class StayingClients(LLMClientCache):  # type: ignore[misc]
    """Where LiteLLM keeps every client from before its first request on."""

    def set_cache(self, key: str, value: Any, *args: Any, **named: Any) -> None:
        """An answer of 3xx is an error of the provider's from here on."""
        if isinstance(value, AsyncHTTPHandler):
            value.follow_redirects = False  # of clients that it makes later
        for client in (getattr(value, "client", None), getattr(value, "_client", None)):
            if isinstance(
                client, httpx.Client | httpx.AsyncClient
            ):  # the second is that of OpenAI's SDK
                client.follow_redirects = False
        super().set_cache(key, value, *args, **named)


def follow_none() -> None:
    """From now on, in this process."""
    litellm.in_memory_llm_clients_cache = StayingClients()
