"""Long work in a process of its own, that tells in lines of JSON how far it is."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from memrelay.cli.meter import meter
from memrelay.embedded.apps import app_command, app_environment
from memrelay.embedded.environment import known_redis_port, stack_environment

Data = Annotated[
    Path, typer.Option(help="The directory of memrelay up, if it is meant.", metavar="DIR")
]
DEFAULT_DATA = Path(".memrelay")


def followed(
    module: str, arguments: Sequence[str], data: Path
) -> tuple[int, dict[str, Any] | None]:
    """The exit status of ``python -m module``, and its result if it came so far; shown while it runs."""
    result = None
    command, environment = _program(module, arguments, data)
    with (
        meter() as shown,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if "progress" in told:
                shown.show(**told["progress"])
            else:
                result = told["result"]
    return process.returncode, result


def asked(module: str, arguments: Sequence[str], data: Path) -> tuple[int, dict[str, Any] | None]:
    """As ``followed``, of what is done at once."""
    command, environment = _program(module, arguments, data)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, json.loads(done.stdout)["result"] if done.stdout else None


def _program(module: str, arguments: Sequence[str], data: Path) -> tuple[list[str], dict[str, str]]:
    """Its command, and the environment: with the settings of ``memrelay up`` in ``data``, if it was there."""
    port = known_redis_port(data)
    if port is not None:
        os.environ.update(stack_environment(data.resolve(), port))
    return app_command(module, arguments), app_environment()
