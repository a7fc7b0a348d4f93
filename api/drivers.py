"""Drivers: whether they serve, how far they are behind, and what brings them back in sync."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.audit import note
from api.body import at_once, parse_json, read_json, validate
from api.direct import Direct
from api.models import JoinIn, NothingIn, RetireIn, SyncIn
from api.openapi import operation
from api.problems import Problem
from api.state import State, namespace_of, state_of
from api.views import pass_view
from backends.journal import Journal
from backends.journal.members import LastWhole, Members, NotAMember, join, members, retire
from backends.journal.pending import oldest
from backends.journal.pulse import pulse
from backends.journal.sync import (
    DriverState,
    Pass,
    detach,
    last_version,
    lowest_open,
    part,
    places,
    release,
    save,
    states,
)
from backends.journal.usage import clock
from backends.sources import Source
from backends.store import Store
from memrelay.client.answers import Detached, Drivers, Membership, SyncAsked
from memrelay.errors import MemrelayError

router = APIRouter(prefix="/v1", route_class=Direct)
DRIVER = {"name": "sqlite"}
PROBE_SECONDS = 2.0


@router.get("/drivers", openapi_extra=operation(Drivers))
async def get_drivers(request: Request) -> Response:
    """Every driver: its state, what waits for it, and its last sync.

    ``backlog`` are memories that it has not applied, of which the oldest was accepted
    ``oldest_seconds`` ago: of all namespaces, so both are null unless the key is of the installation's own.
    ``breaker`` is that of the process which answers.
    """
    view = await driver_views(state_of(request), namespace_of(request))
    return Response(msgspec.json.encode({"drivers": view}), media_type="application/json")


async def driver_views(state: State, namespace: str) -> list[dict[str, Any]]:
    """What ``GET /v1/drivers`` says of each."""
    stores = state.sources.stores
    names = list(stores)
    belonging = await members(state.journal, state.sources.by_name)
    parts = [part(source, name) for source, row in belonging.items() for name in row.states]
    known = await states(state.journal, [*names, *parts])
    told = await state.alarms(namespace)
    first = await oldest(state.journal, names)
    now = await clock(state.journal)
    home = namespace == state.settings.namespace
    reached = await asyncio.gather(*(_answers(store) for store in stores.values()))
    view = []
    for name, answers in zip(names, reached, strict=True):
        age = round((now - first[name]) / 1e6, 3) if home and name in first else None
        row = _view(state, namespace, name, known[name], answers=answers)
        row["backlog"] = known[name].backlog if home else None
        row["members"] = _memberships(state, namespace, name, belonging, known)
        view.append(row | {"oldest_seconds": age, "alarm": told.get(name)})
    return view


def _view(
    state: State, namespace: str, name: str, known: DriverState, *, answers: bool
) -> dict[str, Any]:
    return {
        "name": name,
        "type": str(state.settings.drivers[name].get("type", name)),
        "sources": _sources_of(state, name),
        "state": known.state or ("serving" if answers else "unreachable"),
        "held": known.held,
        "answers": answers,
        "breaker": state.sources.stores[name].breaker.state,
        "sync": None if known.last is None else pass_view(known.last, namespace),
    }


def _sources_of(state: State, driver: str) -> list[str]:
    return [
        source.name
        for source in state.sources.by_name.values()
        if driver in [store.name for store in source.stores]
    ]


def _memberships(
    state: State,
    namespace: str,
    driver: str,
    belonging: Mapping[str, Members],
    known: Mapping[str, DriverState],
) -> dict[str, Any]:
    """In each source that the driver belongs to, or did, how it stands there and how it was filled."""
    view = {}
    for source, row in belonging.items():
        if driver in row.states:
            last = known[part(source, driver)].last
            view[source] = {
                "state": row.states[driver],
                "sync": None if last is None else pass_view(last, namespace),
            }
    return view


async def _answers(store: Store) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await store.ping()
    except (MemrelayError, TimeoutError):
        return False
    return True


@router.post(
    "/drivers/{name}/sync",
    status_code=202,
    openapi_extra=operation(SyncAsked, status=202, body=SyncIn, optional=True, example=DRIVER),
)
async def sync_driver(request: Request, name: str) -> Response:
    """Have a driver compared with the others and repaired, both ways; ``full`` checks every record.

    One that was taken out is brought back. The one that is under way goes on: ``started`` is false then.
    """
    state = _known(request, name)
    raw = await read_json(request, at_once(state.settings))
    body = validate(SyncIn, parse_json(raw or b"{}"))
    started, it = await ask_sync(state, name, full=body.full)
    view = {"name": name, "started": started, "sync": pass_view(it, namespace_of(request))}
    return Response(msgspec.json.encode(view), 202, media_type="application/json")


async def ask_sync(state: State, name: str, *, full: bool) -> tuple[bool, Pass]:
    """Whether a pass was begun, and the one that is under way now. 404 for an unknown driver."""
    known_driver(state, name)
    known = (await states(state.journal, [name]))[name]
    await release(state.journal, name)
    if known.last is not None and known.last.ended_at is None:
        return False, known.last
    it = await _asked(state, name, known, full=full)
    await save(state.journal, name, it)
    return True, it


async def _asked(state: State, name: str, known: DriverState, *, full: bool) -> Pass:
    """A pass for workers to take up. Of one that serves, everything is compared; else what it missed."""
    asked_at = await clock(state.journal) // 1000
    if full or known.state:
        return Pass(full=full, asked_at=asked_at)
    until = await last_version(state.journal) + 1
    until = await lowest_open(state.journal) or until
    return Pass(
        full=False,
        asked_at=asked_at,
        until=until,
        places=dict.fromkeys(await _places(state, name), 0),
    )


async def _places(state: State, name: str) -> list[str]:
    own = _sources_of(state, name)
    return [
        f"{namespace}|{source}"
        for namespace, source in await places(state.journal)
        if source in own
    ]


@router.post(
    "/drivers/{name}/detach",
    status_code=202,
    openapi_extra=operation(Detached, status=202, body=NothingIn, optional=True, example=DRIVER),
)
async def detach_driver(request: Request, name: str) -> Response:
    """Take a driver out: it does not serve, and writes do not wait for it, until ``sync`` is asked for it."""
    state = _known(request, name)
    validate(NothingIn, parse_json(await read_json(request, at_once(state.settings)) or b"{}"))
    changed = await take_out(state, name)
    after = await _state(state.journal, name)
    view = {"name": name, "state": after, "changed": changed}
    return Response(msgspec.json.encode(view), 202, media_type="application/json")


async def take_out(state: State, name: str) -> bool:
    """False if it was out already."""
    known_driver(state, name)
    return await detach(state.journal, name, held=True)


@router.post(
    "/drivers/{name}/retire",
    openapi_extra=operation(Membership, body=RetireIn, optional=True, example=DRIVER),
)
async def retire_driver(request: Request, name: str) -> Response:
    """Let a driver go from a source: what is accepted from now on is not for it, nor is it read, though it
    answers. Afterwards it may be taken out of the settings. 409 while no other driver has everything."""
    state = state_of(request)
    raw = await read_json(request, at_once(state.settings))
    source = state.source(validate(RetireIn, parse_json(raw or b"{}")).source)
    note(request, source=source.name)
    changed = await let_go(state, source, name)
    view = {"name": name, "source": source.name, "state": "retired", "changed": changed}
    return Response(msgspec.json.encode(view), media_type="application/json")


async def let_go(state: State, source: Source, name: str) -> bool:
    """False if the source had let it go already."""
    try:
        changed = await retire(state.journal, source.name, name)
    except NotAMember:
        there = ", ".join(store.name for store in source.stores)
        detail = f"The source has no such driver, but {there}."
        raise Problem(404, "not_found", detail) from None
    except LastWhole as error:
        raise Problem(409, error.code, f"{error}.".capitalize()) from None
    await state.sources.look(state.journal)
    return changed


@router.post(
    "/drivers/{name}/join",
    status_code=202,
    openapi_extra=operation(Membership, status=202, body=JoinIn, optional=True, example=DRIVER),
)
async def join_driver(request: Request, name: str) -> Response:
    """Let a configured driver into a source, or one that was retired back: it is filled from the others, then
    serves. What a retired one still has is removed first; what another one has of it only with ``empty``."""
    state = _known(request, name)
    raw = await read_json(request, at_once(state.settings))
    body = validate(JoinIn, parse_json(raw or b"{}"))
    source = state.source(body.source)
    note(request, source=source.name, empty=int(body.empty))
    changed = await let_in(state, source, name, empty=body.empty)
    after = await _state(state.journal, part(source.name, name))
    view = {"name": name, "source": source.name, "state": after or "whole", "changed": changed}
    return Response(msgspec.json.encode(view), 202, media_type="application/json")


async def let_in(state: State, source: Source, name: str, *, empty: bool) -> bool:
    """False if it was a member already."""
    known_driver(state, name)
    if (reason := source.refuses(state.sources.stores[name])) is not None:
        raise Problem(409, "does_not_fit", reason)
    if (reason := (await pulse(state.journal)).refuses) is not None:
        raise Problem(409, "earlier_release", reason)
    changed = await join(state.journal, source.name, name, empty=empty)
    await state.sources.look(state.journal)
    return changed


async def _state(journal: Journal, name: str) -> str:
    return (await states(journal, [name]))[name].state


def _known(request: Request, name: str) -> State:
    state = state_of(request)
    known_driver(state, name)
    return state


def known_driver(state: State, name: str) -> None:
    """404 for one that is not in the settings."""
    if name not in state.sources.stores:
        there = ", ".join(state.sources.stores)
        raise Problem(404, "not_found", f"The settings have no such driver, but {there}.")
