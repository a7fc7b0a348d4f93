"""What a check says, and how an error becomes that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from memrelay.errors import ConfigError, MemrelayError, Transient
from memrelay.sentinels import sentinels_of, watched

SECONDS = 20.0
MENDED_BY_HAND = {
    "credentials": "its user or password is wrong: correct the address in the settings",
    "embedding_credentials": "correct the model's api_key",
    "embedding_model": "correct the model's name or its api_base",
}
"""By the code of an error that no waiting helps, although it may pass for the service that meets it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``wrong`` stays so until somebody mends it, ``unavailable`` may come back by itself, a ``warning``
    works and is to be known."""

    check: str
    status: Literal["ok", "warning", "wrong", "unavailable"]
    detail: str
    mend: str = ""


type Check = Callable[[], Awaitable[str | Finding]]


async def checked(name: str, check: Check, mend: str) -> Finding:
    """What ``check`` found, or said in words; an error's class decides between wrong and unavailable."""
    try:
        async with asyncio.timeout(SECONDS):
            found = await check()
    except TimeoutError:
        return Finding(name, "unavailable", f"no answer within {SECONDS:g} s", mend)
    except ConfigError as error:  # says itself what to do
        return Finding(name, "wrong", _said(name, error))
    except Transient as error:
        if by_hand := MENDED_BY_HAND.get(error.code):
            return Finding(name, "wrong", _said(name, error), by_hand)
        return Finding(name, "unavailable", _said(name, error), mend)
    except MemrelayError as error:
        return Finding(name, "wrong", _said(name, error), mend)
    return found if isinstance(found, Finding) else Finding(name, "ok", found)


def _said(name: str, error: Exception) -> str:
    return str(error).removeprefix(f"{name}: ")


def place(url: str) -> str:
    """Host and port of an address, without what is secret in it."""
    if watched(url):
        return sentinels_of(url).place
    parts = urlsplit(url)
    return f"{parts.hostname or ''}:{parts.port or ''}{parts.path}".strip(":")
