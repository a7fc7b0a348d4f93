"""``verify``: is everything that was accepted in every store, undamaged? Counted, not believed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from memrelay import exits
from memrelay.cli.options import AsJson
from memrelay.cli.output import plain, show_columns, show_json
from memrelay.embedded.apps import app_command, app_environment
from memrelay.embedded.environment import known_redis_port, stack_environment

JOURNAL = ("accepted", "applied", "superseded", "failed", "needs_sync", "canceled", "in_flight")
DRIFT = ("missing", "stale", "different", "damaged", "covered")
FAULTS = ("lost", "stale", "resurrected", "altered", "duplicates", "strangers")


def verify(
    ledger: Annotated[
        Path | None,
        typer.Option(help="What a client was promised: NDJSON with id, version, digest."),
    ] = None,
    data: Annotated[
        Path, typer.Option(help="The directory of memrelay up, if it is meant.", metavar="DIR")
    ] = Path(".memrelay"),
    as_json: AsJson = False,
) -> int:
    """Compare journal and stores, record by record; writes nothing. Status 0 sound, 3 in flight, 1 not."""
    port = known_redis_port(data)
    if port is not None:
        os.environ.update(stack_environment(data.resolve(), port))
    command = app_command("backends.proof")
    if ledger is not None:
        command.append(str(ledger))
    lines: list[dict[str, Any]] = []
    with subprocess.Popen(
        command, env=app_environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(json.loads(line))
            if not as_json:
                _show(lines[-1])
    if as_json and lines:
        show_json({"statements": lines})
    if not lines and process.returncode == exits.OK:
        typer.echo("nothing was ever accepted here")
    return process.returncode


def _show(line: dict[str, Any]) -> None:
    """The equation of each driver, then what differs between the stores."""
    verdict = "sound" if line["sound"] else "in flight" if line["in_flight"] else "NOT SOUND"
    typer.echo(plain(f"{line['namespace']} / {line['source']}: {verdict}"))
    rows = []
    for name, account in line["journal"].items():
        store = line["stores"].get(name)
        drift = line["divergence"]["peers"].get(name, {})
        rows.append(
            [name]
            + [account[key] for key in JOURNAL]
            + [line["dead_letters"][name]]
            + ([store["live"], store["tombstones"]] if store else ["?", "?"])
            + [drift.get(key, "?") for key in DRIFT]
        )
    show_columns(("driver", *JOURNAL, "dead letters", "live", "tombstones", *DRIFT), rows)
    for name, reason in line["unreachable"].items():
        typer.echo(plain(f"{name} cannot be read: {reason}"))
    _show_ledger(line)


def _show_ledger(line: dict[str, Any]) -> None:
    accounts = {name: s["account"] for name, s in line["stores"].items() if s["account"]}
    if accounts:
        ends = ("visible", "superseded", "deleted", "dead", "canceled")
        headers = ("ledger", "accepted", *ends, *FAULTS)
        show_columns(headers, [[n, *(a[key] for key in headers[1:])] for n, a in accounts.items()])
