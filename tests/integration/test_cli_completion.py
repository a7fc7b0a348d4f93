"""Completion, in the shell that people press Tab in."""

from __future__ import annotations

import os
import shlex
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.cli import COMMAND, environment_in
from tests.integration.conftest import Remember
from tests.rig import wait_until
from tests.service import Service

COMPLETE = """
source ~/.bashrc
COMP_WORDS=({words}) COMP_CWORD={at}
$(complete -p memrelay | sed 's/.* -F \\([^ ]*\\) .*/\\1/') memrelay
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def home(service: Service, tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has ``memrelay`` on the path and its completion installed in bash."""
    program = tmp_path / "bin" / "memrelay"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    env = environment_in(
        tmp_path,
        MEMRELAY_URL=service.url,
        HOME=str(tmp_path),
        PATH=f"{program.parent}{os.pathsep}{os.environ['PATH']}",
    )
    installed = bash("memrelay --install-completion; true", env)  # so that bash stays its parent
    assert "bash completion installed" in installed
    return env


def bash(script: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=env,
        cwd=env["HOME"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stdout


def completed(env: dict[str, str], *words: str) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in words)
    return bash(COMPLETE.format(words=quoted, at=len(words) - 1), env).split()


def test_bash_completes_commands_options_and_what_the_service_knows(
    home: dict[str, str], service: Service, remember: Remember, user: str
) -> None:
    job = remember([{"text": "of a job", "user_id": user}])["job"]["id"]
    assert completed(home, "memrelay", "dr") == ["drivers"]
    assert {"ls", "show", "wait"} <= set(completed(home, "memrelay", "jobs", ""))
    assert "--resume" in completed(home, "memrelay", "import", "--re")
    assert completed(home, "memrelay", "search", "x", "--mode", "k") == ["keyword"]
    told = partial(
        completed, home, "memrelay"
    )  # the service is not waited for: a Tab is to be quick
    wait_until("drivers", lambda: told("sync", "") == ["redis", "sqlite"], 60)
    wait_until("sources", lambda: told("count", "--source", "v") == ["vectors"], 60)
    wait_until("jobs", lambda: job in told("jobs", "show", "job_"), 60)
    away = {**home, "MEMRELAY_URL": "http://127.0.0.1:9"}
    assert completed(away, "memrelay", "sync", "") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_and_answers(home: dict[str, str], shell: str) -> None:
    assert "memrelay" in bash(f"_MEMRELAY_COMPLETE=source_{shell} memrelay", home)
    asked = "_TYPER_COMPLETE_ARGS='memrelay dr' _TYPER_COMPLETE_FISH_ACTION=get-args"
    assert "drivers" in bash(f"{asked} _MEMRELAY_COMPLETE=complete_{shell} memrelay", home)
