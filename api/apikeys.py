"""API keys over HTTP: those of the caller's namespace; of others by a key of the installation's own."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.audit import note
from api.auth import grant_of
from api.body import at_once, read_model
from api.direct import Direct
from api.keyring import Grant
from api.models import KeyIn
from api.openapi import operation
from api.problems import Problem, invalid, not_found
from api.state import State, state_of
from backends.journal.apikeys import ApiKey, TooManyKeys, create_key, list_keys, revoke_key
from memrelay.apikeys import NAMESPACE, SCOPES, Token, new_token
from memrelay.client.answers import KeyInfos, NewKey
from memrelay.times import now_us

Whose = Annotated[str | None, Query(description="Whose keys; the caller's own if left out.")]
router = APIRouter(prefix="/v1", route_class=Direct)


@router.get("/keys", openapi_extra=operation(KeyInfos))
async def get_keys(request: Request, namespace: Whose = None) -> Response:
    """The API keys of the namespace, oldest first. The keys themselves are kept nowhere."""
    state = state_of(request)
    own = _namespace(state, grant_of(request), namespace)
    view = {"keys": [key.view for key in await list_keys(state.journal, own)]}
    return Response(msgspec.json.encode(view), media_type="application/json")


@router.post("/keys", status_code=201, openapi_extra=operation(NewKey, status=201, body=KeyIn))
async def post_key(request: Request) -> Response:
    """Make an API key. ``key`` is in this answer and never again."""
    state = state_of(request)
    body = await read_model(request, KeyIn, at_once(state.settings))
    token, key = await make_key(state, grant_of(request), body)
    note(request, made=key.id, of=key.namespace, scopes=",".join(key.scopes))
    view = {"key": str(token), **key.view}
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(view), 201, headers, media_type="application/json")


@router.delete(
    "/keys/{id}",
    status_code=204,
    openapi_extra=operation(status=204, example={"id": "5f0c9a1e2b7d4c88"}),
)
async def delete_key(request: Request, id: str, namespace: Whose = None) -> Response:
    """Revoke an API key: 5 s later no API takes it any more."""
    note(request, of=namespace or grant_of(request).namespace)
    await end_key(state_of(request), grant_of(request), id, namespace)
    return Response(status_code=204)


async def make_key(state: State, grant: Grant, wanted: KeyIn) -> tuple[Token, ApiKey]:
    """A new key, if the caller may make it: 403, 409 or 422 otherwise."""
    namespace = _namespace(state, grant, wanted.namespace)
    if wanted.expires_at is not None and wanted.expires_at <= now_us():
        raise invalid([("/expires_at", "is over")])
    token = new_token()
    scopes = [scope for scope in SCOPES if scope in wanted.scopes]
    try:
        key = await create_key(
            state.journal, token, namespace, scopes, name=wanted.name, expires_at=wanted.expires_at
        )
    except TooManyKeys as error:
        raise Problem(409, error.code, f"{error}.".capitalize()) from None
    return token, key


async def end_key(state: State, grant: Grant, id: str, namespace: str | None = None) -> None:
    """Revoke a key; 404 if the namespace has none of that id."""
    own = _namespace(state, grant, namespace)
    if not await revoke_key(state.journal, id, namespace=own):
        raise not_found("key")


def _namespace(state: State, grant: Grant, asked: str | None) -> str:
    """The caller's, or the one asked for if that is the caller's to ask."""
    if asked is None or asked == grant.namespace:
        return grant.namespace
    if not NAMESPACE.match(asked):
        raise invalid([("/namespace", "lower-case letters, digits, _ and -, at most 64")])
    if grant.namespace != state.settings.namespace:
        raise Problem(403, "forbidden", "Keys of other namespaces are the operator's to make.")
    return asked
