"""What the routes work with, built once when the application starts."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from api.announce import Announcer
from api.backlog import Backlog
from api.commit import GroupCommit
from api.problems import Problem
from api.waiters import Waiters
from backends.journal import Journal
from backends.sources import Source, Sources
from memrelay.settings import Settings

NAMESPACE = "default"
"""The one namespace while no API key is configured."""


@dataclass(frozen=True, slots=True)
class State:
    """Of one process."""

    settings: Settings
    journal: Journal
    sources: Sources
    commit: GroupCommit
    announcer: Announcer
    waiters: Waiters
    backlog: Backlog

    def source(self, name: str) -> Source:
        """The source, or 422 that names the field."""
        source = self.sources.by_name.get(name)
        if source is None:
            known = ", ".join(sorted(self.sources.by_name))
            raise Problem(
                422, "unknown_source", "Unknown source.", errors=[("/source", f"one of: {known}")]
            )
        return source


def state_of(request: Request) -> State:
    state = request.app.state.memrelay
    assert isinstance(state, State)
    return state


def namespace_of(request: Request) -> str:
    """The tenant of a request; follows from its credentials, never from its body."""
    return NAMESPACE
