"""``python -m backends.apikeys``: make, list and revoke API keys in the journal itself.

So that there is a first one, and for whoever runs the service: keys of every namespace. Tells its result
as a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from backends.journal import Journal
from backends.journal.apikeys import create_key, list_keys, namespaces, revoke_key
from backends.process import run_process
from memrelay.apikeys import MAX_NAME, NAMESPACE, SCOPES, new_token
from memrelay.errors import ConfigError, InvalidInput
from memrelay.settings import Settings, load_settings
from memrelay.times import now_us

DAY_US = 86_400_000_000

type Action = Callable[[argparse.Namespace, Settings, Journal], Awaitable[dict[str, Any]]]


async def create(given: argparse.Namespace, settings: Settings, journal: Journal) -> dict[str, Any]:
    token = new_token()
    expires_at = now_us() + given.days * DAY_US if given.days else None
    namespace = _checked(given.namespace or settings.namespace)
    if len(given.name) > MAX_NAME or not given.name.isprintable():
        raise InvalidInput(f"--name: at most {MAX_NAME} characters, all of them printable")
    scopes = [scope for scope in SCOPES if scope in given.scope]
    key = await create_key(
        journal, token, namespace, scopes, name=given.name, expires_at=expires_at
    )
    return {"key": str(token), **key.view}


async def ls(given: argparse.Namespace, _: Settings, journal: Journal) -> dict[str, Any]:
    wanted = [_checked(given.namespace)] if given.namespace else await namespaces(journal)
    keys = [key for namespace in wanted for key in await list_keys(journal, namespace)]
    return {"keys": [key.view for key in keys]}


async def revoke(given: argparse.Namespace, _: Settings, journal: Journal) -> dict[str, Any]:
    if not await revoke_key(journal, given.id):
        raise InvalidInput("there is no API key of this id; memrelay keys ls lists them")
    return {"id": given.id, "revoked": True}


def _checked(namespace: str) -> str:
    if not NAMESPACE.match(namespace):
        raise ConfigError("--namespace: lower-case letters, digits, _ and -, at most 64")
    return namespace


async def act(action: Action, given: argparse.Namespace) -> None:
    settings = load_settings()
    journal = Journal(settings.journal_url)
    try:
        result = await action(given, settings, journal)
    finally:
        await journal.close()
    sys.stdout.write(msgspec.json.encode({"result": result}).decode() + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="backends.apikeys")
    actions = parser.add_subparsers(required=True)
    made = actions.add_parser("create")
    made.add_argument("--namespace", default="")
    made.add_argument("--scope", action="append", choices=SCOPES, required=True)
    made.add_argument("--name", default="")
    made.add_argument("--days", type=int, default=0)
    made.set_defaults(action=create)
    listed = actions.add_parser("ls")
    listed.add_argument("--namespace", default="")
    listed.set_defaults(action=ls)
    revoked = actions.add_parser("revoke")
    revoked.add_argument("id")
    revoked.set_defaults(action=revoke)
    given = parser.parse_args()
    return run_process("keys", lambda: asyncio.run(act(given.action, given)))


if __name__ == "__main__":
    sys.exit(main())
