"""``python -m memrelay.compat.memory_driver.migrate``: the tables of the ``pgvector`` driver.

Without a word it runs all migrations that are pending. ``fresh`` drops what they made and runs them all
again, ``status`` lists them, and ``index`` makes the two ivfflat indexes once there is data. ``DATABASE_URL``
says where.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memrelay import exits
from memrelay.compat.memory_driver.loading import load
from memrelay.compat.memory_driver.settings import Settings
from memrelay.errors import MemrelayError, Unavailable

MIGRATION = "backends.memory_driver.migration"
FOLDER = Path("database/migrations")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, 1 wrong, 2 usage, 4 the database cannot be reached."""
    given = _parser().parse_args(arguments)
    if given.command == "fresh" and not (given.force or _confirmed()):
        sys.stderr.write("fresh drops all memories and documents: say --force if that is meant\n")
        return exits.USAGE
    try:
        for line in _done(given.command, given.path):
            sys.stdout.write(f"{line}\n")
    except Unavailable as error:
        return _failed(error, exits.UNAVAILABLE)
    except (MemrelayError, OSError, SyntaxError) as error:
        return _failed(error, exits.FAILED)
    return exits.OK


def _done(command: str, path: Path | None) -> Iterator[str]:
    """Lines that say what was done."""
    settings = Settings()
    folder = path or (FOLDER if FOLDER.is_dir() else None)
    match command:
        case "index":
            for name, outcome in _migration("index")(settings):
                yield f"{name}: {outcome}"
        case "status":
            for name, applied in _migration("status")(settings, folder):
                yield f"{name}: {'applied' if applied else 'pending'}"
        case _:
            names = _migration(command)(settings, folder)
            yield from (f"migrated: {name}" for name in names)
            if not names:
                yield "nothing to migrate"


def _migration(function: str) -> Any:
    return load(f"{MIGRATION}:{function}", "migrate")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="migrate", description="Tables of the pgvector driver.")
    commands = ["upgrade", "fresh", "status", "index"]
    parser.add_argument("command", nargs="?", choices=commands, default="upgrade")
    parser.add_argument(
        "--path", type=Path, metavar="DIR", help=f"more migrations; {FOLDER} if it is there"
    )
    parser.add_argument("--force", action="store_true", help="fresh: do not ask")
    return parser


def _confirmed() -> bool:
    """On a terminal somebody may say yes."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    sys.stdout.write("All memories and documents will be dropped. Type yes: ")
    sys.stdout.flush()
    return sys.stdin.readline().strip() == "yes"


def _failed(error: Exception, status: int) -> int:
    sys.stderr.write(f"{error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
