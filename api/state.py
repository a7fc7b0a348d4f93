"""What the routes work with, built once when the application starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request

from api.announce import Announcer
from api.aside import Aside
from api.auth import grant_of
from api.commit import Commits
from api.feeds import Feeds
from api.keyring import Keyring
from api.lag import Lag
from api.mcp import Endpoint
from api.problems import unknown_source
from api.waiters import Waiters
from backends.journal import Journal
from backends.journal.alarms import alarms
from backends.sources import Source, Sources
from memrelay.errors import ConfigError, Permanent, Unavailable
from memrelay.settings import Settings


class Moved(Permanent):
    """The source is in another space than the request took it to be."""

    code = "moved"


NAMESPACE = "default"
"""The namespace of requests while there is no API key, unless the setting says another."""


@dataclass(frozen=True, slots=True)
class State:
    """Of one process."""

    settings: Settings
    journal: Journal
    sources: Sources
    commit: Commits
    announcer: Announcer
    waiters: Waiters
    lag: Lag
    aside: Aside
    mcp: Endpoint
    keyring: Keyring
    feeds: Feeds

    async def read[T](self, name: str, ask: Callable[[Source], Awaitable[T]]) -> T:
        """What ``ask`` finds in a source as it is; once more, if it has moved to another space meanwhile."""
        source = self.source(name)
        try:
            return await ask(source)
        except Moved:
            await self._look()
        try:
            return await ask(self.source(name))
        except Moved as error:
            raise Unavailable(str(error), code="moved") from None

    async def _look(self) -> None:
        try:
            await self.sources.look(self.journal)
        except ConfigError as error:
            raise Unavailable(str(error), code="config") from None

    async def alarms(self, namespace: str) -> dict[str, str]:
        """By stage, why its refusals are held back. Tenants hear nothing of each other's memories."""
        found = await alarms(self.journal)
        if namespace == self.settings.namespace:
            return found
        return dict.fromkeys(found, "most of what it is given is refused")

    def source(self, name: str) -> Source:
        """The source, or 422 that names the field."""
        source = self.sources.named(name)
        if source is None:
            raise unknown_source(self.sources.by_name)
        return source


def state_of(request: Request) -> State:
    state = request.app.state.memrelay
    assert isinstance(state, State)
    return state


def namespace_of(request: Request) -> str:
    """The tenant of a request; follows from its credentials, never from its body."""
    return grant_of(request).namespace
