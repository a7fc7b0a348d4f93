"""The tables that hold one scope, with the connections to ask them by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backends.pgvector.conditions import Sql
from backends.pgvector.connections import Connections, Rows
from backends.pgvector.layout import Place
from memrelay.types import Scope

LIVE = "m.scope = {scope} AND m.record IS NOT NULL"
UNEXPIRED = f"{LIVE} AND (m.expires_at IS NULL OR m.expires_at > %s)"


@dataclass(frozen=True, slots=True)
class Table:
    connections: Connections
    place: Place
    scope: Scope

    async def ask(self, statement: Sql, settings: Mapping[str, str] | None = None) -> Rows:
        """The rows of one statement; ``{memories}``, ``{words}`` and ``{scope}`` in it are this scope's."""
        text = statement.text.format(
            memories=self.place.memories, words=self.place.words, scope=self.place.scope
        )
        filled = Sql(text, statement.values)
        [rows] = await self.connections.run(filled, scope=self.place.scope, settings=settings)
        return rows
