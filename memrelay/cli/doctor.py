"""``doctor``: is what the settings name there, and fit for its task? One line each, with the mend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from memrelay import exits
from memrelay.cli.options import AsJson
from memrelay.cli.output import plain, show_json
from memrelay.embedded.apps import app_command, app_environment
from memrelay.embedded.environment import known_redis_port, stack_environment
from memrelay.errors import ConfigError, MemrelayError

SIGNS = {"ok": "ok     ", "warning": "note   ", "wrong": "WRONG  ", "unavailable": "AWAY   "}
COLORS = {
    "ok": typer.colors.GREEN,
    "warning": typer.colors.CYAN,
    "wrong": typer.colors.RED,
    "unavailable": typer.colors.YELLOW,
}


def doctor(
    data: Annotated[
        Path, typer.Option(help="The directory of memrelay up, if it is meant.", metavar="DIR")
    ] = Path(".memrelay"),
    as_json: AsJson = False,
) -> int:
    """Check settings, journal, broker, drivers and embedding models: status 1 wrong, 4 away."""
    port = known_redis_port(data)
    if port is not None:
        with suppress(ConfigError):  # the first check tells it
            os.environ.update(stack_environment(data.resolve(), port))
    findings = _findings([] if port is None else [str(data.resolve())], as_json)
    if as_json:
        show_json({"checks": findings})
    statuses = {finding["status"] for finding in findings}
    if "wrong" in statuses:
        return exits.FAILED
    return exits.UNAVAILABLE if "unavailable" in statuses else exits.OK


def _findings(arguments: Sequence[str], as_json: bool) -> list[dict[str, Any]]:
    """Each is shown as it comes, unless all are to be one JSON text."""
    findings = []
    with subprocess.Popen(
        app_command("backends.doctor", arguments),
        env=app_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            findings.append(json.loads(line))
            if not as_json:
                _show(findings[-1])
    if process.returncode != 0:
        raise MemrelayError(f"the check itself failed with status {process.returncode}")
    return findings


def _show(finding: dict[str, Any]) -> None:
    status = finding["status"]
    sign = SIGNS[status]
    typer.secho(sign, fg=COLORS[status], nl=False)
    mend = f"; mend: {finding['mend']}" if finding["mend"] else ""
    typer.echo(plain(f"{finding['check']}: {finding['detail']}{mend}"))
    sys.stdout.flush()
