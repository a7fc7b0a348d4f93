"""All commands, and the one place where an error becomes a line on stderr and an exit status."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import typer

from memrelay import __version__, exits
from memrelay.cli import (
    apikeys,
    bench,
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
    usage,
    verify,
)
from memrelay.cli.examples import show_examples
from memrelay.cli.output import help_if_alone, plain, say
from memrelay.errors import ApiError, MemrelayError, RateLimited, ServiceUnavailable, Unavailable

INTERRUPTED = 130

app = typer.Typer(
    name="memrelay",
    help="Memories for AI agents, taken in at volume. Exit status: 0 ok, 1 failed, 2 usage, "
    "3 partial, 4 unavailable. With --json an error is one JSON object on stderr.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up.up)
app.command()(servers.api)
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
app.command()(bench.bench)
app.add_typer(jobs.app, name="jobs")
app.add_typer(dlq.app, name="dlq")
app.add_typer(apikeys.app, name="keys")
app.command()(usage.usage)
app.command()(drivers.drivers)
app.command()(drivers.sync)
app.command()(members.join)
app.command()(members.retire)
app.command()(migrating.migrate)
app.command()(reembedding.reembed)
show_examples(app)


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> int:
    """Memories for AI agents."""
    if os.environ.get("NO_COLOR"):
        context.color = False  # of every command below it
    if version:
        typer.echo(__version__)
        raise typer.Exit
    return help_if_alone(context)


def run(arguments: Sequence[str]) -> int:
    """The exit status. An error is one line on stderr, JSON with ``--json``; ``MEMRELAY_DEBUG=1`` adds
    where it came from."""
    if not _wants_json(arguments):
        return _run(arguments, _failed)
    os.environ[exits.ERRORS] = "json"  # of the processes that it starts, too
    try:
        return _run(arguments, _failed_in_json)
    finally:
        del os.environ[exits.ERRORS]


def _run(arguments: Sequence[str], failed: Callable[[str, str, int], int]) -> int:
    try:
        status = app(list(arguments), prog_name="memrelay", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return failed(f"{error.format_message()} (memrelay --help)", "usage", error.exit_code)
    except (Unavailable, RateLimited, ServiceUnavailable) as error:
        return failed(str(error), error.code, exits.UNAVAILABLE)
    except MemrelayError as error:
        keyless = isinstance(error, ApiError) and error.status == 401
        hint = " MEMRELAY_API_KEY is where commands find theirs." if keyless else ""
        return failed(f"{error}{hint}", error.code, exits.FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return exits.FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return failed(f"{where}{error.strerror or error}", "system", exits.FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        return failed(f"a fault of memrelay itself: {error!r}", "internal", exits.FAILED)
    return status if isinstance(status, int) else exits.OK


def _wants_json(arguments: Sequence[str]) -> bool:
    """Before it is known whether the arguments are right."""
    return "--json" in arguments and "--" not in arguments[: arguments.index("--json")]


def _failed(message: str, code: str, status: int) -> int:
    _debug()
    say(f"memrelay: {message}")
    return status


def _failed_in_json(message: str, code: str, status: int) -> int:
    _debug()
    error = {"code": code, "detail": plain(message), "status": status}
    typer.echo(json.dumps({"error": error}, ensure_ascii=False), err=True)
    return status


def _debug() -> None:
    if os.environ.get("MEMRELAY_DEBUG") == "1":
        traceback.print_exc()
