"""``migrate --from A --to B``: one driver of a source takes another's place, while everything goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from memrelay import exits
from memrelay.cli import completing
from memrelay.cli.followed import DEFAULT_DATA, Data, followed
from memrelay.cli.options import AsJson, Source
from memrelay.cli.output import plain, say, show_json


def migrate(
    frm: Annotated[
        str,
        typer.Option(
            "--from", help="The driver that has everything.", autocompletion=completing.drivers
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to", help="The driver that is to have it.", autocompletion=completing.drivers
        ),
    ],
    *,
    source: Source = "default",
    retire: Annotated[
        bool, typer.Option("--retire", help="Then let the first go; the second is read first.")
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> int:
    """Fill a driver from another, under load, and compare both. Status 0 if they are equal.

    The workers do it: interrupted, it goes on, and the same command looks at it again.
    """
    arguments = [frm, to, source, *["--retire"] * retire]
    try:
        status, result = followed("backends.migration", arguments, data)
    except KeyboardInterrupt:
        say("the workers go on with it; look at it, and have both compared, by the same command")
        return exits.PARTIAL
    if result is not None and as_json:
        show_json(result)
    elif result is not None:
        _show(result)
    return status


def _show(result: Mapping[str, Any]) -> None:
    for name, row in result["drivers"].items():
        typer.echo(
            plain(f"{name}: {row['live']} memories, {row['tombstones']} deleted, {row['digest']}")
        )
    if not result["equal"]:
        typer.echo(plain(f"NOT EQUAL, such as {', '.join(result['differing'])}"))
        return
    ending = f"; {result['from']} is retired" if result["retired"] else ""
    typer.echo(plain(f"equal, in {result['seconds']:.1f} s{ending}"))
