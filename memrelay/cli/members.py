"""``join`` and ``retire``: which drivers a source has."""

from __future__ import annotations

from typing import Annotated

import typer

from memrelay import exits
from memrelay.cli import completing
from memrelay.cli.options import DEFAULT_URL, AsJson, Source, Url, client
from memrelay.cli.output import plain, show_json
from memrelay.client import Membership

Driver = Annotated[str, typer.Argument(metavar="DRIVER", autocompletion=completing.drivers)]


def join(
    driver: Driver,
    source: Source = "default",
    empty: Annotated[
        bool, typer.Option("--empty", help="Remove what it has of the source first.")
    ] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Let a configured driver into a source, or a retired one back: it is filled first, then it serves."""
    with client(url) as service:
        return _shown(service.join_driver(driver, source=source, empty=empty), as_json)


def retire(
    driver: Driver,
    source: Source = "default",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Let a driver go from a source, once another has everything; it may leave the settings then."""
    with client(url) as service:
        return _shown(service.retire_driver(driver, source=source), as_json)


def _shown(membership: Membership, as_json: bool) -> int:
    if as_json:
        show_json(membership)
    else:
        before = "" if membership.changed else " already"
        typer.echo(plain(f"{membership.name} in {membership.source}: {membership.state}{before}"))
    return exits.OK
