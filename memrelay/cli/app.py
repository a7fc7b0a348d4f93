"""All commands, and the one place where an error becomes a line on stderr and an exit status."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module

import typer

from memrelay import __version__, exits
from memrelay.cli.examples import show_examples
from memrelay.cli.output import help_if_alone, plain, say
from memrelay.errors import ApiError, MemrelayError, RateLimited, ServiceUnavailable, Unavailable

INTERRUPTED = 130
COMMANDS = {
    "up": "up.up",
    "api": "servers.api",
    "worker": "servers.worker",
    "doctor": "doctor.doctor",
    "verify": "verify.verify",
    "add": "memories.add",
    "import": "importing.import_file",
    "export": "exporting.export",
    "search": "memories.search",
    "get": "memories.get",
    "edit": "editing.edit",
    "rm": "memories.rm",
    "count": "memories.count",
    "bench": "bench.bench",
    "jobs": "jobs.app",
    "dlq": "dlq.app",
    "keys": "apikeys.app",
    "usage": "usage.usage",
    "drivers": "drivers.drivers",
    "sync": "drivers.sync",
    "join": "members.join",
    "retire": "members.retire",
    "migrate": "migrating.migrate",
    "reembed": "reembedding.reembed",
}
"""Module and name of each, in the order in which help shows them (the groups come last)."""
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def commands(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with these commands alone: no other module is loaded."""
    app = typer.Typer(
        name="memrelay",
        help="Memories for AI agents, taken in at volume. Exit status: 0 ok, 1 failed, 2 usage, "
        "3 partial, 4 unavailable. With --json an error is one JSON object on stderr.",
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in names:
        module, _, attribute = COMMANDS[name].partition(".")
        found = getattr(import_module(f"memrelay.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name, context_settings=PASS_ON if name == "worker" else None)(found)
    show_examples(app)
    app.callback(invoke_without_command=True)(top)
    return app


def named(arguments: Sequence[str]) -> Iterable[str]:
    """The command that is called; all of them where help, a completion or a mistake may have to show them."""
    match arguments:
        case [name, *_] if name in COMMANDS:
            return [name]
        case ["--version"]:
            return []
    return COMMANDS


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
        status = commands(named(arguments))(
            list(arguments), prog_name="memrelay", standalone_mode=False
        )
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
