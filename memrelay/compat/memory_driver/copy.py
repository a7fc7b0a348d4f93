"""``python -m memrelay.compat.memory_driver.copy FROM TO``: everything of one driver into another.

Under the same ids and times, embedded anew; what is there already is replaced, so copying again repeats
nothing. It goes by ids, notes after each page how far it is, and goes on there when it is started again.
What is deleted meanwhile in FROM stays in TO.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from memrelay import exits
from memrelay.compat.memory_driver.manager import MemoryDriverManager
from memrelay.compat.memory_driver.record import KINDS, Kind
from memrelay.compat.memory_driver.shelved import ShelfDriver
from memrelay.errors import ConfigError, InvalidInput, MemrelayError, Permanent, Transient

DONE = "done"


@dataclass(slots=True)
class Copied:
    """How many were copied, and why others were refused, by their ids."""

    copied: int = 0
    refused: dict[str, str] = field(default_factory=dict)


class Place:
    """How far a copy is: a file with the last id of each kind, gone when all is done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._after: dict[str, str] = {}
        if path.is_file():
            self._after = json.loads(path.read_text())

    def after(self, kind: Kind) -> str | None:
        return self._after.get(f"after:{kind}")

    def is_done(self, kind: Kind) -> bool:
        return self._after.get(kind) == DONE

    def reached(self, kind: Kind, id: str) -> None:
        self._note(f"after:{kind}", id)

    def done(self, kind: Kind) -> None:
        self._note(kind, DONE)

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)

    def _note(self, key: str, value: str) -> None:
        self._after[key] = value
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(f"{self._path.name}.new")
        new.write_text(json.dumps(self._after))
        new.replace(self._path)


def copy(
    source: ShelfDriver,
    target: ShelfDriver,
    place: Place,
    progress: Callable[[Copied], None] = lambda copied: None,
) -> Copied:
    """Everything from where ``place`` is; raises ``Transient`` where it may be gone on with later."""
    copied = Copied()
    for kind in KINDS:
        while not place.is_done(kind):
            records = source.page(kind, place.after(kind))
            for record, result in zip(records, target.put(records), strict=True):
                if isinstance(result, Transient):
                    raise result
                if isinstance(result, MemrelayError):
                    copied.refused[record.id] = str(result)
                else:
                    copied.copied += 1
            if records:
                place.reached(kind, records[-1].id)
                progress(copied)
            else:
                place.done(kind)
    place.forget()
    return copied


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, 1 wrong, 2 usage, 3 some were refused, 4 one of them cannot be reached."""
    given = _parser().parse_args(arguments)
    path = given.state or Path(".memrelay") / f"copy-{given.source}-{given.target}.json"
    try:
        source, target = _driver(given.source), _driver(given.target)
        copied = copy(source, target, Place(path), _show)
    except ValueError as error:
        return _failed(error, exits.USAGE)
    except Transient as error:
        return _failed(error, exits.UNAVAILABLE)
    except (ConfigError, InvalidInput, Permanent) as error:
        return _failed(error, exits.FAILED)
    for id, reason in copied.refused.items():
        sys.stderr.write(f"refused: {id}: {reason}\n")
    sys.stdout.write(f"{copied.copied} copied, {len(copied.refused)} refused\n")
    return exits.PARTIAL if copied.refused else exits.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="copy", description="Copy one memory driver to another.")
    parser.add_argument("source", metavar="FROM", help="a driver's name, such as pgvector")
    parser.add_argument("target", metavar="TO", help="another one's, such as redis")
    parser.add_argument("--state", type=Path, metavar="FILE", help="notes how far it is")
    return parser


def _driver(name: str) -> ShelfDriver:
    driver = MemoryDriverManager.plain_driver(name.lower())
    if not isinstance(driver, ShelfDriver):
        raise ConfigError(
            f"{name} has no pages of memories to copy from, or takes no ids to copy to"
        )
    return driver


def _show(copied: Copied) -> None:
    sys.stdout.write(f"{copied.copied} copied\n")
    sys.stdout.flush()


def _failed(error: Exception, status: int) -> int:
    sys.stderr.write(f"{error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
