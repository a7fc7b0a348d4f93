"""All commands, and the one place where an error becomes a line on stderr and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from memrelay import __version__, exits
from memrelay.cli import (
    dlq,
    doctor,
    drivers,
    editing,
    exporting,
    importing,
    jobs,
    members,
    memories,
    migrating,
    reembedding,
    servers,
    up,
    verify,
)
from memrelay.cli.output import help_if_alone, say
from memrelay.errors import MemrelayError, RateLimited, ServiceUnavailable, Unavailable

INTERRUPTED = 130

app = typer.Typer(
    name="memrelay",
    help="Memories for AI agents, taken in at volume. Exit status: 0 ok, 1 failed, 2 usage, "
    "3 partial, 4 unavailable.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up.up)
app.command(context_settings=servers.PASS_ON)(servers.api)
app.command(context_settings=servers.PASS_ON)(servers.worker)
app.command()(doctor.doctor)
app.command()(verify.verify)
app.command()(memories.add)
app.command("import")(importing.import_file)
app.command()(exporting.export)
app.command()(memories.search)
app.command()(memories.get)
app.command()(editing.edit)
app.command()(memories.rm)
app.command()(memories.count)
app.add_typer(jobs.app, name="jobs")
app.add_typer(dlq.app, name="dlq")
app.command()(drivers.drivers)
app.command()(drivers.sync)
app.command()(members.join)
app.command()(members.retire)
app.command()(migrating.migrate)
app.command()(reembedding.reembed)


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> int:
    """Memories for AI agents."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    return help_if_alone(context)


def run(arguments: Sequence[str]) -> int:
    """The exit status. Errors are one line on stderr; ``MEMRELAY_DEBUG=1`` adds where they came from."""
    try:
        status = app(list(arguments), prog_name="memrelay", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _failed(f"{error.format_message()} (memrelay --help)", error.exit_code)
    except (Unavailable, RateLimited, ServiceUnavailable) as error:
        return _failed(str(error), exits.UNAVAILABLE)
    except MemrelayError as error:
        return _failed(str(error), exits.FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return exits.FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(f"{where}{error.strerror or error}", exits.FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        return _failed(f"a fault of memrelay itself: {error!r}", exits.FAILED)
    return status if isinstance(status, int) else exits.OK


def _failed(message: str, status: int) -> int:
    if os.environ.get("MEMRELAY_DEBUG") == "1":
        traceback.print_exc()
    say(f"memrelay: {message}")
    return status
