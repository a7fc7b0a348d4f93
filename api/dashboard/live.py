"""Live parts of pages: what is shown first with the page and again whenever it has changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from api.dashboard.page import Viewer, fragment
from api.feeds import News
from api.state import State
from memrelay.errors import MemrelayError


@dataclass(frozen=True, slots=True)
class Look:
    """Who looks at what; ``id`` is of what the page is about. Equal looks see the same."""

    page: str
    id: str
    viewer: Viewer


async def shown(make: Callable[[State, Look], Awaitable[News]], state: State, look: Look) -> News:
    """What is there to be shown; while it cannot be known (the journal is away), why."""
    try:
        return await make(state, look)
    except MemrelayError as error:
        return News(fragment("unknown.html", error=error))
