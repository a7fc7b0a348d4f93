"""``reembed --model M``: a source is embedded by another model, while everything goes on."""

from __future__ import annotations

from typing import Annotated

import typer

from memrelay import exits
from memrelay.cli.followed import DEFAULT_DATA, Data, followed
from memrelay.cli.options import AsJson, Source
from memrelay.cli.output import plain, say, show_json


def reembed(
    *,
    model: Annotated[str, typer.Option(help="As in sources.<name>.embedding.")] = "",
    source: Source = "default",
    empty: Annotated[
        bool, typer.Option("--empty", help="Remove first what stores have by that model already.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Give up and drop what is built.")
    ] = False,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> int:
    """Build a source's vectors anew beside the old ones, then search the new ones alone.

    The workers do it: interrupted, it goes on, and the same command looks at it again.
    """
    if bool(model) == cancel:
        raise typer.BadParameter("either --model or --cancel", param_hint="--model")
    if empty and cancel:
        raise typer.BadParameter("it goes with --model", param_hint="--empty")
    arguments = [model, source, *["--empty"] * empty, *["--cancel"] * cancel]
    try:
        status, result = followed("backends.reembedding", arguments, data)
    except KeyboardInterrupt:
        say("the workers go on with it; look at it by the same command, or give up with --cancel")
        return exits.PARTIAL
    if result is not None and as_json:
        show_json(result)
    elif result is not None and cancel:
        typer.echo("given up" if result["canceled"] else "nothing is built")
    elif result is not None:
        typer.echo(plain(f"{source} is embedded by {result['model']}, {result['seconds']:.1f} s"))
        say(f"set sources.{source}.embedding to {result['model']}")
    return status
