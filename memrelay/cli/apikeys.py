"""``keys create``, ``ls`` and ``revoke``: API keys, in the journal itself, as the settings name it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from memrelay.apikeys import SCOPES
from memrelay.cli.followed import DEFAULT_DATA, Data, asked
from memrelay.cli.options import AsJson
from memrelay.cli.output import help_if_alone, plain, say, show_json, show_rows

app = typer.Typer(help="API keys, by the settings of the server.", rich_markup_mode=None)
app.callback(invoke_without_command=True)(help_if_alone)

MODULE = "backends.apikeys"
HEADERS = ("id", "namespace", "scopes", "name", "created", "last used", "expires")


@app.command()
def create(
    scope: Annotated[
        list[str],
        typer.Option(
            metavar="SCOPE",
            help="read, write or admin, which includes the others; may be repeated.",
        ),
    ],
    *,
    namespace: Annotated[
        str, typer.Option(help="Whose memories it is for; that of the settings if left out.")
    ] = "",
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[
        int, typer.Option(min=0, max=36_500, help="Good for so many days; 0: for ever.")
    ] = 0,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> int:
    """Make a key and show it, once. From the first key on, nobody is answered without one."""
    if unknown := set(scope).difference(SCOPES):
        known = ", ".join(SCOPES)
        raise typer.BadParameter(f"{min(unknown)} is none of {known}", param_hint="--scope")
    arguments = ["create", *(f"--scope={each}" for each in scope), f"--namespace={namespace}"]
    status, key = asked(MODULE, [*arguments, f"--name={name}", f"--days={days}"], data)
    if key is not None and as_json:
        show_json(key)
    elif key is not None:
        say(f"{', '.join(key['scopes'])} in {key['namespace']}; it is not shown again:")
        typer.echo(plain(key["key"]))
    return status


@app.command()
def ls(
    namespace: Annotated[str, typer.Option(help="Of this one alone.")] = "",
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> int:
    """List the keys of all namespaces, or of one. The keys themselves are kept nowhere."""
    status, found = asked(MODULE, ["ls", f"--namespace={namespace}"], data)
    if found is not None and as_json:
        show_json(found)
    elif found is not None:
        show_rows(HEADERS, [_row(key) for key in found["keys"]])
    return status


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="As in mr_<id>_…, and as ls shows it.")],
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> int:
    """Revoke a key: 5 s later no API takes it any more."""
    status, done = asked(MODULE, ["revoke", id], data)
    if done is not None and as_json:
        show_json(done)
    elif done is not None:
        typer.echo(plain(f"{id} is revoked"))
    return status


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    times = (key[each] or "never" for each in ("created_at", "used_at", "expires_at"))
    return (key["id"], key["namespace"], ",".join(key["scopes"]), key["name"], *times)
