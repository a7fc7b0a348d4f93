"""Which keys an API process takes, for how long, and what it does while the journal cannot be asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial

import pytest

from api.keyring import FRESH_SECONDS, GRACE_SECONDS, Grant, Keyring
from api.problems import Problem
from backends.journal import Journal
from backends.journal.apikeys import (
    MAX_KEYS,
    TooManyKeys,
    create_key,
    list_keys,
    namespaces,
    revoke_key,
)
from backends.journal.journal import PREFIX
from deploy.native.redis import RedisServer
from memrelay.apikeys import KeyScope, Token, new_token
from memrelay.errors import Unavailable
from memrelay.times import now_us
from tests.rig import wait_until

ADMIN_KEY = "0123456789abcdef0123456789abcdef"


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server(redis_server_factory: Callable[..., RedisServer]) -> RedisServer:
    return redis_server_factory()


@asynccontextmanager
async def opened(
    server: RedisServer, *, clock: Clock | None = None, admin_key: str | None = None
) -> AsyncIterator[tuple[Journal, Keyring]]:
    journal = Journal(f"{server.url}/0")
    keyring = Keyring(journal, "default", admin_key=admin_key, clock=clock or Clock())
    try:
        await keyring.start()
        yield journal, keyring
    finally:
        await keyring.close()
        await journal.close()


async def made(journal: Journal, *scopes: KeyScope, expires_at: int | None = None) -> Token:
    token = new_token()
    await create_key(journal, token, "acme", scopes or ("read",), expires_at=expires_at)
    return token


async def test_a_key_gives_its_namespace_and_scopes(server: RedisServer) -> None:
    async with opened(server) as (journal, keyring):
        token = await made(journal, "read", "write")
        grant = await keyring.grant(str(token))
        assert grant == Grant("acme", frozenset({"read", "write"}), token.id)
        assert grant.may("read") and grant.may("write") and not grant.may("admin")


async def test_a_key_with_another_secret_is_none(server: RedisServer) -> None:
    async with opened(server) as (journal, keyring):
        token = await made(journal)
        assert await keyring.grant(str(Token(token.id, new_token().secret))) is None
        assert await keyring.grant(str(new_token())) is None
        assert await keyring.grant("mr_nonsense") is None
        assert await keyring.grant(str(token)) is not None


async def test_a_revoked_key_is_good_for_three_seconds_at_most(server: RedisServer) -> None:
    clock = Clock()
    async with opened(server, clock=clock) as (journal, keyring):
        token = await made(journal)
        assert await keyring.grant(str(token)) is not None
        assert await revoke_key(journal, token.id)
        clock.now += FRESH_SECONDS + 0.1
        assert await keyring.grant(str(token)) is None
        assert FRESH_SECONDS < 5


async def test_a_key_ends_when_it_expires_though_the_journal_is_away(server: RedisServer) -> None:
    clock = Clock()
    async with opened(server, clock=clock) as (journal, keyring):
        token = await made(journal, expires_at=now_us() + 60_000_000)
        assert await keyring.grant(str(token)) is not None
        server.kill()
        clock.now += 30
        assert await keyring.grant(str(token)) is not None
        clock.now += 31
        assert await keyring.grant(str(token)) is None


async def test_a_known_key_goes_on_for_reads_while_the_journal_is_away(server: RedisServer) -> None:
    clock = Clock()
    async with opened(server, clock=clock) as (journal, keyring):
        token, unknown = await made(journal), await made(journal)
        assert await keyring.grant(str(token)) is not None
        server.kill()
        clock.now += FRESH_SECONDS + 0.1
        grant = await keyring.grant(str(token))
        assert grant is not None and not grant.sure
        with pytest.raises(Unavailable):
            await keyring.grant(str(unknown))
        clock.now += GRACE_SECONDS
        with pytest.raises(Unavailable):
            await keyring.grant(str(token))
        server.start()
        clock.now += 2
        grant = await keyring.grant(str(token))
        assert grant is not None and grant.sure


async def test_a_frozen_journal_holds_a_known_key_up_once(server: RedisServer) -> None:
    clock = Clock()
    async with opened(server, clock=clock) as (journal, keyring):
        token = await made(journal)
        assert await keyring.grant(str(token)) is not None
        server.freeze()
        clock.now += FRESH_SECONDS + 0.1
        grants = await asyncio.gather(*(keyring.grant(str(token)) for _ in range(50)))
        assert all(grant is not None and not grant.sure for grant in grants)
        server.thaw()
        clock.now += 2
        grant = await keyring.grant(str(token))
        assert grant is not None and grant.sure


async def test_the_first_key_locks_every_process_for_good(server: RedisServer) -> None:
    async with opened(server) as (journal, keyring), opened(server) as (_, other):
        assert not keyring.locked and not other.locked
        token = await made(journal)
        for each in (keyring, other):
            await asyncio.to_thread(
                wait_until, "it to be seen", partial(getattr, each, "locked"), 30
            )
        assert await revoke_key(journal, token.id)
    async with opened(server) as (_, later):
        assert later.locked


async def test_an_admin_key_of_the_settings_locks_from_the_start(server: RedisServer) -> None:
    async with opened(server, admin_key=ADMIN_KEY) as (_, keyring):
        assert keyring.locked
        grant = await keyring.grant(ADMIN_KEY)
        assert grant is not None and grant.namespace == "default" and grant.may("admin")
        assert await keyring.grant(ADMIN_KEY + "0") is None
        assert await keyring.grant("") is None
        await keyring.check(grant)


async def test_what_goes_on_for_long_ends_with_its_key(server: RedisServer) -> None:
    clock = Clock()

    async def events() -> AsyncGenerator[int]:
        for number in range(10):
            yield number

    async with opened(server, clock=clock) as (journal, keyring):
        token = await made(journal)
        keyring.locked = True
        grant = await keyring.grant(str(token))
        assert grant is not None
        seen = []
        async with aclosing(keyring.during(grant, events())) as told:
            async for number in told:
                seen.append(number)
                if number == 4:
                    await revoke_key(journal, token.id)
                    clock.now += FRESH_SECONDS + 0.1
        assert seen == [0, 1, 2, 3, 4]
        with pytest.raises(Problem, match="good no more"):
            await keyring.check(grant)
        with pytest.raises(Problem):  # what began before there were keys
            await keyring.check(keyring.everybody)


async def test_a_namespace_has_a_bounded_number_of_keys(server: RedisServer) -> None:
    async with opened(server) as (journal, _):
        tokens = [await made(journal) for _ in range(MAX_KEYS)]
        with pytest.raises(TooManyKeys):
            await made(journal)
        assert await revoke_key(journal, tokens[0].id)
        await made(journal)
        with pytest.raises(TooManyKeys):
            await made(journal)
        await journal.client.delete(f"{PREFIX}key:{tokens[1].id}")  # as when it expires
        await made(journal)
        assert tokens[1].id not in [key.id for key in await list_keys(journal, "acme")]


async def test_what_is_told_of_keys_is_all_but_the_keys(server: RedisServer) -> None:
    async with opened(server) as (journal, keyring):
        first = await made(journal, "admin")
        await keyring.grant(str(first))
        until = now_us() + 3_600_000_000
        second = new_token()
        await create_key(journal, second, "globex", ("read",), name="bot", expires_at=until)
        assert await namespaces(journal) == ["acme", "globex"]
        [used] = await list_keys(journal, "acme")
        [new] = await list_keys(journal, "globex")
        assert used.id == first.id and used.scopes == ("admin",)
        assert used.used_at is not None and used.expires_at is None
        assert (new.name, new.used_at) == ("bot", None)
        assert new.expires_at == until // 1000 * 1000
        assert not await revoke_key(journal, second.id, namespace="acme")
        assert await revoke_key(journal, second.id, namespace="globex")
        assert await namespaces(journal) == ["acme"]
