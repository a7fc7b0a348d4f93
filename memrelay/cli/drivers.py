"""``drivers`` and ``sync``: how the stores are, and bringing one in step with the others."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from memrelay import exits
from memrelay.cli import completing
from memrelay.cli.options import DEFAULT_URL, AsJson, Url, client
from memrelay.cli.output import plain, say, show_json, show_rows
from memrelay.client import DriverStatus, Member, Memrelay
from memrelay.errors import NotFound

FINDINGS = ("missing", "stale", "different", "damaged", "covered", "repaired", "unrepaired")
LOOK_SECONDS = 0.5


def drivers(as_json: AsJson = False, url: Url = DEFAULT_URL) -> int:
    """Every driver: its state, its breaker, how far it is behind. Status 4 if one does not serve yet."""
    with client(url) as service:
        answer = service.drivers()
    if as_json:
        show_json(answer)
    else:
        rows = [
            (
                row.name,
                f"{row.state} (held)" if row.held else row.state,
                row.breaker,
                "" if row.backlog is None else row.backlog,
                "" if row.oldest_seconds is None else f"{row.oldest_seconds:.0f} s",
                _last_sync(row),
                row.alarm,
                _membership(row),
            )
            for row in answer.drivers
        ]
        headers = (
            "driver",
            "state",
            "breaker",
            "behind",
            "oldest",
            "last sync",
            "alarm",
            "sources",
        )
        show_rows(headers, rows)
    serving = all(row.state == "serving" and not _filling(row) for row in answer.drivers)
    return exits.OK if serving else exits.UNAVAILABLE


def sync(
    driver: Annotated[str, typer.Argument(metavar="DRIVER", autocompletion=completing.drivers)],
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare versions alone, not every record.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it has ended.")] = True,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Compare a driver with the others and repair both ways. Status 0 repaired, 3 not all, 4 not ended."""
    with client(url) as service:
        asked = service.sync_driver(driver, full=not quick)
        if not asked.started:
            say("one is under way already; this is it")
        status = _watched(service, driver) if wait else _named(service, driver)
    if as_json:
        show_json(status)
    else:
        _show(status)
    if status.sync is None or status.sync.ended_at is None:
        return exits.UNAVAILABLE if wait else exits.OK
    left = sum(row["unrepaired"] for _, row in _rows(status.sync.report))
    return exits.PARTIAL if left else exits.OK


def _watched(service: Memrelay, name: str) -> DriverStatus:
    """Until it has ended, however long that takes: it goes on by itself when we are interrupted."""
    said = ""
    while True:
        status = _named(service, name)
        if status.sync is None or status.sync.ended_at is not None:
            return status
        compared = sum(place["compared"] for place in status.sync.report.values())
        line = status.sync.error or f"{compared} compared"
        if line != said:
            say(line)
            said = line
        time.sleep(LOOK_SECONDS)


def _named(service: Memrelay, name: str) -> DriverStatus:
    for status in service.drivers().drivers:
        if status.name == name:
            return status
    raise NotFound(404, {"detail": f"there is no driver {name}"})


def _show(status: DriverStatus) -> None:
    typer.echo(plain(f"{status.name}: {status.state}"))
    if status.sync is not None:
        rows = [
            [f"{place} {driver}", *(row[kind] for kind in FINDINGS)]
            for (place, driver), row in _rows(status.sync.report)
        ]
        show_rows(("source, driver", *FINDINGS), rows)


def _rows(report: Mapping[str, Any]) -> list[tuple[tuple[str, str], Mapping[str, Any]]]:
    """What was found, by (source, driver)."""
    return [
        ((place, driver), row)
        for place, found in report.items()
        for driver, row in found["peers"].items()
    ]


def _filling(row: DriverStatus) -> bool:
    return any(member.state in ("away", "syncing") for member in row.members.values())


def _membership(row: DriverStatus) -> str:
    """The sources that it is in, with how it stands where it has not everything."""
    return ", ".join(
        source if member.state == "whole" else f"{source}: {_standing(member)}"
        for source, member in row.members.items()
    )


def _standing(member: Member) -> str:
    held_up = member.sync.error if member.sync is not None and not member.sync.ended_at else None
    return f"{member.state} ({held_up})" if held_up else member.state


def _last_sync(row: DriverStatus) -> str:
    if row.sync is None:
        return ""
    if row.sync.ended_at is None:
        return row.sync.error or "under way"
    return row.sync.ended_at.isoformat(timespec="seconds")
