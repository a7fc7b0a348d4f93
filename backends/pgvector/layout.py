"""The schema: how it is made and moved forward, what tables a space has, which number a scope has.

A table of memories for each space, with tombstones, since an index of vectors is of one dimension; and a
table of their words beside it. Row policies show a transaction the memories of the scope that it names
and no other, whatever a statement of ours forgets. They do not bind superusers. The words have no
policy: under one, the planner must not use an index by words (``@@`` is not leakproof); what they lead to
is read from the table that has one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from backends.pgvector.conditions import Sql
from backends.pgvector.connections import SCOPE_SETTING, Connections
from backends.pgvector.settings import Settings
from memrelay.errors import ConfigError, Permanent, Unavailable
from memrelay.types import Scope, Space

MIGRATIONS = (
    """
    CREATE TABLE spaces (
        slug text PRIMARY KEY,
        model text NOT NULL,
        dimensions integer NOT NULL
    );
    CREATE TABLE scopes (
        scope bigint PRIMARY KEY,
        namespace text NOT NULL,
        source text NOT NULL,
        slug text NOT NULL REFERENCES spaces,
        UNIQUE (namespace, source, slug)
    );
    """,
)
"""Each is applied once, in this order, and never changed again: what is to change is a new one at the
end, which also changes the tables of every space in ``spaces``."""
SERVER = 150_000
EXTENSION = (0, 8)
"""The oldest pgvector that the driver was tried on."""
_INLINE = 1024
"""Dimensions of vectors that are kept in their rows, which must fit into a page of 8 KiB."""
_LOCK = "memrelay layout "

_SERVER = """
SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
    to_regnamespace(%s) IS NOT NULL, to_regclass(%s) IS NOT NULL,
    has_database_privilege(current_database(), 'CREATE'), current_setting('synchronous_commit')
"""
_EXTENSION = """
SELECT n.nspname::text, e.extversion, t.oid::bigint
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
JOIN pg_type t ON t.typnamespace = n.oid AND t.typname = 'vector'
WHERE e.extname = 'vector'
"""
_LEDGER = """
CREATE TABLE IF NOT EXISTS migrations (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_FIND_SCOPE = "SELECT true FROM scopes WHERE (namespace, source, slug) = (%s, %s, %s)"
# Two scopes of one number, which chance does not make, are refused by the primary key.
_ADD_SCOPE = """
INSERT INTO scopes (scope, namespace, source, slug) VALUES (%s, %s, %s, %s)
ON CONFLICT (namespace, source, slug) DO NOTHING
"""
_ADD_SPACE = (
    "INSERT INTO spaces (slug, model, dimensions) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
)
_HAS_SPACE = """
SELECT EXISTS (SELECT FROM spaces WHERE slug = %s)
    AND to_regclass(%s) IS NOT NULL AND to_regclass(%s) IS NOT NULL
"""
_SPACE = """
CREATE TABLE IF NOT EXISTS {memories} (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    digest text,
    user_id text COLLATE "C",
    session_id text COLLATE "C",
    created_at bigint,
    expires_at bigint,
    vector vector({dimensions}),
    record bytea,
    UNIQUE (scope, id)
);
ALTER TABLE {memories} ALTER COLUMN vector SET STORAGE {storage};
CREATE TABLE IF NOT EXISTS {words} (
    row bigint PRIMARY KEY,
    scope bigint NOT NULL,
    words tsvector NOT NULL
);
CREATE INDEX IF NOT EXISTS {memories}_by_version ON {memories} (scope, version, id);
CREATE INDEX IF NOT EXISTS {memories}_of_user ON {memories} (scope, user_id, id);
CREATE INDEX IF NOT EXISTS {memories}_by_expiry ON {memories} (scope, expires_at, id)
    WHERE expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS {memories}_tombstones ON {memories} (scope, version, id)
    WHERE digest IS NULL AND record IS NULL;
CREATE INDEX IF NOT EXISTS {words}_by_word ON {words} USING gin (words);
ALTER TABLE {memories} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {memories} FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own_scope ON {memories};
CREATE POLICY own_scope ON {memories}
    USING (scope = nullif(current_setting('{setting}', true), '')::bigint);
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scope's memories are."""

    scope: int
    space: Space

    @property
    def memories(self) -> str:
        return f"memories_{self.space.slug}"

    @property
    def words(self) -> str:
        return f"words_{self.space.slug}"


class Layout:
    """The schema of one database, ready when ``prepare`` has returned."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self.vector_oid = 0
        """The number of the type ``vector`` in this database."""
        self._connections = connections
        self._settings = settings
        self._places: dict[tuple[str, str, str], Place] = {}

    async def prepare(self) -> None:
        """Make or migrate the schema, which several processes may do at once.

        ``ConfigError`` says what the server lacks; ``Permanent`` that a newer memrelay was here.
        """
        self._places.clear()
        schema = self._settings.schema_
        asked = Sql(_SERVER, (schema, f"{schema}.migrations"))
        [[(version, encoding, there, made, may, commits)]] = await self._connections.run(asked)
        if version < SERVER or encoding != "UTF8":
            found = f"{version // 10_000} with {encoding}"
            raise self._lacks(f"PostgreSQL 15 with encoding UTF8 is needed, this is {found}")
        if not there and not may:
            raise self._lacks(
                "we may not make our schema: as a superuser run "
                f"CREATE SCHEMA {schema} AUTHORIZATION <our role>;"
            )
        if commits == "off":  # what is acknowledged has to survive a kill
            self._connections.always["synchronous_commit"] = "on"
        if not made or await self._version() < len(MIGRATIONS):
            await self._migrate(there=there)
        await self._find_extension()

    async def _version(self) -> int:
        [[(version,)]] = await self._connections.run(
            Sql("SELECT coalesce(max(version), 0) FROM migrations")
        )
        if version > len(MIGRATIONS):
            raise Permanent(
                f"{self._connections.what}: the schema {self._settings.schema_} was written by a newer "
                f"memrelay (layout {version}, not {len(MIGRATIONS)})",
                code="layout",
            )
        return int(version)

    async def _migrate(self, *, there: bool) -> None:
        schema, lock = self._settings.schema_, _LOCK + self._settings.schema_
        made = [] if there else [Sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")]
        await self._connections.transaction(*made, Sql(_LEDGER), lock=lock)
        found = await self._version()
        for number in range(found + 1, len(MIGRATIONS) + 1):
            body = MIGRATIONS[number - 1]
            entry = f"INSERT INTO migrations (version) VALUES ({number});"
            once = (
                f"DO $memrelay$ BEGIN IF NOT EXISTS (SELECT FROM migrations WHERE version = {number}) "
                f"THEN {body} {entry} END IF; END $memrelay$"
            )
            await self._connections.transaction(Sql(once), lock=lock)

    async def _find_extension(self) -> None:
        """Where pgvector is; it is made if that is allowed."""
        [found] = await self._connections.run(Sql(_EXTENSION))
        if not found:
            await self._make_extension()
            [found] = await self._connections.run(Sql(_EXTENSION))
        [(schema, version, oid)] = found
        if tuple(map(int, version.split(".")[:2])) < EXTENSION:
            raise self._lacks(
                f"pgvector {version} is too old: ALTER EXTENSION vector UPDATE; (0.8)"
            )
        self.vector_oid = oid
        quoted = schema.replace('"', '""')
        self._connections.always["search_path"] = f'{self._settings.schema_}, "{quoted}"'

    async def _make_extension(self) -> None:
        lock = _LOCK + self._settings.schema_
        made = Sql("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        try:
            await self._connections.transaction(made, lock=lock)
        except Unavailable as error:
            if error.code != "credentials":
                raise
            mend = "in this database, as a superuser: CREATE EXTENSION vector;"
            raise self._lacks(f"the extension vector is missing: {mend}") from error
        except Permanent as error:  # the server has no such extension to make
            raise self._lacks(f"pgvector is not installed on the server ({error})") from error

    def _lacks(self, what: str) -> ConfigError:
        return ConfigError(f"{self._connections.what}: {what}")

    async def find(self, scope: Scope) -> Place | None:
        """Where a scope is; None if nothing was ever stored for it."""
        key = _key(scope)
        if key not in self._places:
            [rows] = await self._connections.run(Sql(_FIND_SCOPE, key))
            if not rows:
                return None
            self._places[key] = place_of(scope)
        return self._places[key]

    async def ensure(self, scope: Scope) -> Place:
        """Where a scope is; its tables are made if they are new, which only their owner may."""
        found = await self.find(scope)
        if found is not None:
            return found
        key, place = _key(scope), place_of(scope)
        made = [] if await self._has_space(place) else _space(place)
        added = Sql(_ADD_SCOPE, (place.scope, *key))
        await self._connections.transaction(*made, added, lock=_LOCK + self._settings.schema_)
        self._places[key] = place
        return place

    async def _has_space(self, place: Place) -> bool:
        asked = Sql(_HAS_SPACE, (place.space.slug, place.memories, place.words))
        [[(there,)]] = await self._connections.run(asked)
        return bool(there)


def place_of(scope: Scope) -> Place:
    """The number of a scope follows from its name: one that is remembered means no other in a database
    that was dropped, or restored from a copy, under running processes."""
    digest = hashlib.blake2b("\0".join(_key(scope)).encode(), digest_size=8).digest()
    return Place(int.from_bytes(digest, signed=True), scope.space)


def _space(place: Place) -> list[Sql]:
    """What makes the tables of a space and enters it."""
    space = place.space
    entry = Sql(_ADD_SPACE, (space.slug, space.model, space.dimensions))
    return [*_statements(_tables(place)), entry]


def _tables(place: Place) -> str:
    dimensions = place.space.dimensions
    return _SPACE.format(
        memories=place.memories,
        words=place.words,
        dimensions=dimensions,
        storage="PLAIN" if dimensions <= _INLINE else "EXTERNAL",
        setting=SCOPE_SETTING,
    )


def _statements(script: str) -> list[Sql]:
    return [Sql(text.strip()) for text in script.split(";") if text.strip()]


def _key(scope: Scope) -> tuple[str, str, str]:
    return scope.namespace, scope.source, scope.space.slug
