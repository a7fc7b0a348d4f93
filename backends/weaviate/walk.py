"""Objects in (version, id) order, page by page, whatever their number.

Weaviate refuses to page beyond 10,000 objects by offset, and sorts fast by one number only. So a page is
sorted by version, continued from the last version that was whole, and where one version fills more
than a page, within it by id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Self

from weaviate.classes.query import Filter as Where
from weaviate.classes.query import Sort
from weaviate.collections.classes.filters import FilterReturn

from backends.weaviate.connection import Collection, Connection
from backends.weaviate.objects import OID, VERSION, Row, is_listed, row_of
from memrelay.errors import Permanent


@dataclass(frozen=True, slots=True)
class Position:
    """Seen is everything up to ``version``; with an ``oid``, of that version only what comes up to it."""

    version: int
    oid: str | None = None

    def __str__(self) -> str:
        return f"{self.version}" if self.oid is None else f"{self.version}:{self.oid}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of ``str``; ``Permanent`` for what no scan has given out."""
        version, _, oid = text.partition(":")
        try:
            return cls(int(version), oid or None)
        except ValueError:
            raise Permanent("not a cursor of this driver", code="cursor") from None


START = Position(-1)
DEEPEST = 10_000
"""QUERY_MAXIMUM_RESULTS of Weaviate."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The objects of a tenant that pass ``where``, with ``properties``, OID, VERSION and UUID.

    Objects whose OID or VERSION is damaged are left out.
    """

    connection: Connection
    collection: Collection
    where: FilterReturn
    properties: Sequence[str]

    async def pages(self, size: int) -> AsyncIterator[list[Row]]:
        """All of them."""
        position: Position | None = START
        while position is not None:
            rows, position = await self.page(position, size)
            yield rows

    async def page(self, after: Position, size: int) -> tuple[list[Row], Position | None]:
        """At most ``size`` rows behind ``after``, and where they end; None at the end of all."""
        rows: list[Row] = []
        if after.oid is not None:
            rows = await self._tied(after.version, after.oid, size)
            if len(rows) == size:
                return rows, _end(rows)
        wanted = size - len(rows)
        later = Where.by_property(VERSION).greater_than(after.version)
        found = await self._fetch(later, VERSION, wanted + 1)
        found.sort(key=lambda row: (row[VERSION], row[OID]))
        if len(found) <= wanted:
            return rows + found, None
        last = found[wanted][VERSION]
        whole = [row for row in found if row[VERSION] < last]
        if whole:
            return rows + whole, Position(whole[-1][VERSION])
        if rows:
            return rows, Position(after.version)
        rows = await self._tied(last, "", size)
        return rows, _end(rows) if rows else Position(last)

    async def by_id(self, after: str, limit: int) -> list[Row]:
        """At least ``limit`` rows if there are so many, at most DEEPEST, by id and behind ``after``.

        Weaviate reads all of them that pass in order to sort by id: ask for many.
        """
        return await self._fetch(Where.by_property(OID).greater_than(after), OID, limit)

    async def _tied(self, version: int, oid: str, limit: int) -> list[Row]:
        """Rows of one version, by id, behind ``oid``."""
        same = Where.by_property(VERSION).equal(version)
        found = await self._fetch(same & Where.by_property(OID).greater_than(oid), OID, limit)
        return found[:limit]

    async def _fetch(self, where: FilterReturn, sort: str, limit: int) -> list[Row]:
        """At least ``limit`` rows if there are so many: an index may know more objects than there are."""
        rows: list[Row] = []
        for asked in (limit, DEEPEST):
            found = await self.connection.call(
                self.collection.query.fetch_objects(
                    filters=self.where & where,
                    sort=Sort.by_property(sort),
                    limit=asked,
                    return_properties=[*self.properties, OID, VERSION],
                )
            )
            rows = [row for row in map(row_of, found.objects) if is_listed(row)]
            if len(rows) >= limit:
                break
        return rows


def _end(rows: Sequence[Row]) -> Position:
    return Position(rows[-1][VERSION], rows[-1][OID])
