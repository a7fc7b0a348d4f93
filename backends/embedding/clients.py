"""LiteLLM's HTTP clients follow redirects and read whatever comes; ours do neither.

A redirect would carry texts to another host, and a key with them where the provider has a header of its
own for it.
"""

from __future__ import annotations

from typing import Any

import httpx
import litellm
from litellm.caching.llm_caching_handler import LLMClientCache
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

from backends.embedding.answers import bound_answers


class GuardedClients(LLMClientCache):  # type: ignore[misc]
    """Where LiteLLM keeps every client from before its first request on."""

    def set_cache(self, key: str, value: Any, *args: Any, **named: Any) -> None:
        """An answer of 3xx is an error of the provider's from here on, and answers are bounded."""
        for client in (getattr(value, "client", None), getattr(value, "_client", None)):
            if isinstance(
                client, httpx.Client | httpx.AsyncClient
            ):  # the second is that of OpenAI's SDK
                client.follow_redirects = False
                bound_answers(client)
        if isinstance(value, AsyncHTTPHandler):  # of clients that it makes later
            value.follow_redirects = False
            value.event_hooks = value.client.event_hooks
        super().set_cache(key, value, *args, **named)


def guard_clients() -> None:
    """From now on, in this process."""
    litellm.in_memory_llm_clients_cache = GuardedClients()
