"""``export FILE``: what a source holds, as NDJSON that ``import`` takes, with the same ids."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memrelay import exits
from memrelay.cli.followed import DEFAULT_DATA, Data, followed
from memrelay.cli.options import AsJson, Source
from memrelay.cli.output import plain, say, show_json


def export(
    file: Annotated[Path, typer.Argument(help="Written whole or not at all; not over another.")],
    *,
    source: Source = "default",
    namespace: Annotated[
        str, typer.Option(help="Of another tenant than the settings name.", show_default=False)
    ] = "",
    vectors: Annotated[
        bool,
        typer.Option("--vectors", help="With vectors also where memrelay makes them from texts."),
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> int:
    """Write everything that a source holds to a file, live."""
    arguments = [str(file.absolute()), namespace, source, *["--vectors"] * vectors]
    try:
        status, result = followed("backends.export", arguments, data)
    except KeyboardInterrupt:
        say(f"stopped; there is no {file}")
        return exits.PARTIAL
    if result is not None and as_json:
        show_json(result)
    elif result is not None:
        typer.echo(plain(f"{result['memories']} memories in {result['seconds']:.1f} s: {file}"))
    return status
