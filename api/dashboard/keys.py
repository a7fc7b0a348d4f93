"""Keys and usage: who may call, what the namespace has used, and how much of what it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from api import models
from api.apikeys import end_key, make_key
from api.audit import note
from api.auth import grant_of
from api.body import validate
from api.dashboard.charts import Part, parts
from api.dashboard.form import read_fields
from api.dashboard.page import Page, page, see_other, viewer_of
from api.models import KeyIn
from api.problems import Problem, invalid
from api.state import State, state_of
from backends.journal.apikeys import ApiKey, list_keys
from backends.journal.usage import consumed, usage
from memrelay.apikeys import SCOPES, Token
from memrelay.jobs import MAX_COUNT
from memrelay.times import format_time, now_us

router = APIRouter(route_class=Page, include_in_schema=False)
PATH = "/ui/keys"
DAY_US = 86_400_000_000
TERMS = {"30": "30 days", "90": "90 days", "365": "1 year", "": "Never"}
"""Days until a key expires, as the form has them."""
NEARLY_FULL = 0.8


@dataclass(frozen=True, slots=True)
class Made:
    """A key that was made just now: the only time that ``token`` is shown."""

    token: Token
    key: ApiKey


@dataclass(frozen=True, slots=True)
class Level:
    """How much of a limit is taken; ``filter`` is how both numbers are written."""

    label: str
    taken: int
    limit: int
    filter: str

    @property
    def bar(self) -> Sequence[Part]:
        tone = "warn" if self.taken > NEARLY_FULL * self.limit else "accent"
        return parts([(tone, self.taken, self.label)], max(self.limit, self.taken))


@router.get(PATH)
async def get_keys(request: Request) -> Response:
    return await _page(request)


@router.post(PATH)
async def post_key(request: Request) -> Response:
    """Make a key, and show it this once."""
    state, fields = state_of(request), await read_fields(request)
    try:
        made = Made(*await make_key(state, grant_of(request), _wanted(fields, state)))
        note(request, made=made.key.id, of=made.key.namespace, scopes=",".join(made.key.scopes))
    except Problem as problem:
        return await _page(request, problem.status, problem=problem)
    return await _page(request, 201, made=made)


@router.post(PATH + "/{id}/revoke")
async def revoke(request: Request, id: str) -> Response:
    """End a key; who has ended their own is logged out by it."""
    await end_key(state_of(request), grant_of(request), id)
    return see_other(PATH)


def _wanted(fields: Sequence[tuple[str, str]], state: State) -> KeyIn:
    given = dict(fields)
    scopes = [value for name, value in fields if name == "scope"]
    days = given.get("days", "")
    if days not in TERMS:
        raise invalid([("/expires_at", f"one of: {', '.join(TERMS.values())}")])
    if not scopes:
        raise invalid([("/scopes", "choose what the key may do")])
    if not state.keyring.locked and "admin" not in scopes:
        detail = "the first key has to be an admin's: nobody could make another one afterwards"
        raise invalid([("/scopes", detail)])
    expires_at = format_time(now_us() + int(days) * DAY_US) if days else None
    name = given.get("name", "").strip()
    return validate(KeyIn, {"scopes": scopes, "name": name, "expires_at": expires_at})


async def _page(request: Request, status: int = 200, **values: Any) -> Response:
    """All of the page; ``made`` is a key to be shown, ``problem`` why none was made."""
    state, viewer = state_of(request), viewer_of(request)
    keys = await list_keys(state.journal, viewer.namespace) if viewer.admin else []
    return page(
        request,
        "keys.html",
        status,
        **({"made": None, "problem": None} | values),
        keys=keys,
        own=grant_of(request).key_id,
        last_admin=sum("admin" in key.scopes for key in keys) == 1,
        locked=state.keyring.locked,
        scopes=SCOPES,
        terms=TERMS,
        used=await consumed(state.journal, viewer.namespace),
        levels=await _levels(state, viewer.namespace),
        bounds=_bounds(state),
    )


async def _levels(state: State, namespace: str) -> list[Level]:
    waiting, settings = await usage(state.journal, namespace), state.settings
    return [
        Level("Memories waiting", waiting.memories, settings.namespace_memories, "number"),
        Level("Bytes waiting or dead", waiting.bytes, settings.namespace_bytes, "size"),
    ]


def _bounds(state: State) -> list[tuple[str, int | None, str]]:
    """What one request may hold: label, number, and how it is written."""
    return [
        ("Memories a second", state.settings.namespace_rate or None, "number"),
        ("Memories in a request", MAX_COUNT, "number"),
        ("Body", state.settings.body_limit, "size"),
        ("Text of a memory", models.TEXT_BYTES, "size"),
        ("Metadata of a memory", models.METADATA_BYTES, "size"),
        ("Hits of a search", models.MAX_TOP_K, "number"),
    ]
