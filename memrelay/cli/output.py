"""What commands print: JSON for programs, lines with tabs for pipes, tables for people."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from pydantic import BaseModel

from memrelay import exits

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def plain(value: object) -> str:
    """On one line, and without what a terminal would obey: memories are strangers' texts."""
    return _CONTROL.sub(" ", "" if value is None else str(value))


def say(message: str) -> None:
    """One line on stderr."""
    typer.echo(plain(message), err=True)


def help_if_alone(context: typer.Context) -> int:
    """The callback of a group: without a command it shows its help, which is a usage error."""
    if context.invoked_subcommand is not None:
        return exits.OK
    typer.echo(context.get_help(), err=True)
    raise typer.Exit(exits.USAGE)


def show_json(value: BaseModel | Sequence[BaseModel] | Mapping[str, Any]) -> None:
    """One JSON text on stdout, on one line."""
    typer.echo(json.dumps(_plain_value(value), ensure_ascii=False, separators=(",", ":")))


def show_rows(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on a terminal; elsewhere a line with tabs for each row, without headers."""
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(plain(cell) for cell in row))
        return
    if not rows:
        typer.echo("none")
        return
    from rich.console import Console  # noqa: PLC0415 - for terminals alone
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    Console().print(table)


def show_columns(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """As ``show_rows``, but on a terminal every row is a column: for many fields of few things."""
    if not sys.stdout.isatty():
        show_rows(headers, rows)
        return
    first, *others = zip(headers, *rows, strict=True)
    show_rows([plain(name) for name in first], others)


def _plain_value(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: _plain_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(each) for each in value]
    return value
