"""A service with API keys: two API processes, a worker, and keys of three namespaces, for tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import httpx

from backends.journal import Journal
from backends.journal.apikeys import create_key, revoke_key
from deploy.native.redis import RedisServer
from memrelay.apikeys import SCOPES, KeyScope, Token, new_token
from memrelay.embedded.ports import free_ports
from tests.service import Service, settings_env

HOME, ACME, GLOBEX = "default", "acme", "globex"
ADMIN_KEY = "the-admin-key-of-the-settings-0123456789"


class House:
    """``first`` has a worker; ``second`` is an API alone, with an admin key in its settings. As there are
    keys, both may be reached by the whole network.

    ``keys`` has one for each namespace and scope. As a context manager: started, and stopped.
    """

    def __init__(
        self, directory: Path, settings: Mapping[str, str] = MappingProxyType({}), path: str = ""
    ) -> None:
        """``settings`` of both besides; ``path``: where they find more modules."""
        ports = free_ports(2)
        self.journal = RedisServer(directory / "journal", ports[0])
        self.store = RedisServer(directory / "store", ports[1])
        env = settings_env(
            broker_url=f"{self.journal.url}/1",
            journal_url=f"{self.journal.url}/0",
            redis_url=f"{self.store.url}/0",
            directory=directory,
        )
        env |= {"MEMRELAY_HOST": "0.0.0.0"} | settings
        self.first = Service(env, directory / "first")
        self.second = Service(env | {"MEMRELAY_ADMIN_KEY": ADMIN_KEY}, directory / "second")
        for service in (self.first, self.second):
            service.env["PYTHONPATH"] += f"{os.pathsep}{path}" if path else ""
        self.keys: dict[tuple[str, KeyScope], Token] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.journal)
            stack.enter_context(self.store)
            for namespace in (HOME, ACME, GLOBEX):
                for scope in SCOPES:
                    self.keys[namespace, scope] = self.made(namespace, scope)
            stack.enter_context(self.first)
            stack.callback(self.second.stop)
            self.second.start_api()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def made(self, namespace: str, *scopes: KeyScope) -> Token:
        """A new key, made in the journal."""
        token = new_token()
        self._do(lambda journal: create_key(journal, token, namespace, scopes))
        return token

    def revoke(self, token: Token) -> None:
        assert self._do(lambda journal: revoke_key(journal, token.id))

    def client(
        self, key: Token | str | None, *, service: Service | None = None, **options: Any
    ) -> httpx.Client:
        """Of the first API, unless told otherwise."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        url = (service or self.first).url
        # Without TLS there is nothing to verify, and loading the certificates takes longer than a request.
        return httpx.Client(base_url=url, headers=headers, timeout=90, verify=False, **options)

    def of(self, namespace: str, scope: KeyScope = "admin") -> httpx.Client:
        return self.client(self.keys[namespace, scope])

    @property
    def logs(self) -> Sequence[Path]:
        return (self.first.api_log, self.first.worker_log, self.second.api_log)

    def _do(self, work: Any) -> Any:
        async def done() -> Any:
            journal = Journal(f"{self.journal.url}/0")
            try:
                return await work(journal)
            finally:
                await journal.close()

        return asyncio.run(done())
