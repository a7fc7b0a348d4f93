"""Exit statuses, errors as JSON and help: one table over every command that there is."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from memrelay import exits
from memrelay.cli import options
from memrelay.cli.app import commands, run
from memrelay.cli.examples import EXAMPLES, registered
from memrelay.embedded.ports import free_port
from memrelay.seeds import SEED_NAMES
from tests.unit.scripted import Reply, Scripted, problem

SERVERS = {"api", "worker"}
"""Become that process, whose output is a log."""
HERE = {
    *("up", "doctor", "verify", "export", "migrate", "reembed"),
    *("keys create", "keys ls", "keys revoke"),
}
"""Work on the installation that the settings name, not through a service."""
COMMANDS = sorted(path for path, _ in registered(commands()))
ASKING = [path for path in COMMANDS if path not in SERVERS | HERE]
MORE = {
    "rm": ["an-id"],
    "dlq replay": ["--all"],
    "dlq rm": ["--all"],
    "edit": ["--text", "a"],
    "jobs cancel": ["--all"],
    "keys create": ["--scope", "read"],
    "reembed": ["--model", "openai/m"],
    "import": ["--quiet"],
}
"""What a command wants besides the arguments that it declares as required."""
HEAVY = (
    "celery",
    "fastapi",
    "kombu",
    "litellm",
    "msgspec",
    "numpy",
    "redis",
    "tokenizers",
    "uvicorn",
)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No service, no settings, no state of the user's, and nobody who waits for what is away."""
    for name in os.environ:
        if name.startswith("MEMRELAY_") or name in SEED_NAMES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("MEMRELAY_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "PATIENCE", 0.0)


def declared(path: str) -> Any:
    """The command as typer knows it."""
    command: Any = get_command(commands())
    for word in path.split():
        command = command.commands[word]
    return command


def right(path: str) -> list[str]:
    """Arguments with which it begins its work."""
    words = [*path.split(), *MORE.get(path, [])]
    for parameter in declared(path).params:
        option = parameter.opts[0]
        if parameter.required and option not in words:
            words += [option, "it"] if option.startswith("-") else ["it"]
    if path == "import":
        Path("it").write_text('{"text": "a"}\n')
    return words


def error(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The last line on stderr; nothing is on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    (only,) = json.loads(err.splitlines()[-1]).items()
    assert only[0] == "error"
    told: dict[str, Any] = only[1]
    assert told.keys() == {"code", "detail", "status"}
    return told


@pytest.mark.parametrize("path", ASKING)
def test_without_a_service_the_status_is_4(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(right(path)) == exits.UNAVAILABLE
    assert os.environ["MEMRELAY_URL"] in capsys.readouterr().err
    assert run([*right(path), "--json"]) == exits.UNAVAILABLE
    told = error(capsys)
    assert (told["code"], told["status"]) == ("unavailable", exits.UNAVAILABLE)


@pytest.mark.parametrize("path", [path for path in COMMANDS if path != "worker"])
def test_an_option_that_is_not_there_is_status_2(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*right(path), "--nope"]) == exits.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert "--nope" in line
    assert run([*right(path), "--nope", "--json"]) == exits.USAGE
    assert error(capsys)["code"] == "usage"


@pytest.mark.parametrize("path", [path for path in ASKING if path != "import"])
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (problem(401), exits.FAILED),
        (problem(404), exits.FAILED),
        (problem(422), exits.FAILED),
        (problem(429, {"Retry-After": "60"}), exits.UNAVAILABLE),
        (problem(503, {"Retry-After": "60"}), exits.UNAVAILABLE),
        (Reply(200, "<html>hello</html>"), exits.FAILED),
    ],
    ids=["401", "404", "422", "429", "503", "stranger"],
)
def test_an_answer_that_is_an_error_decides_the_status(
    path: str, answer: Reply, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with Scripted() as server:
        server.script(answer)
        assert run([*right(path), "--json", "--url", server.url]) == status
    assert error(capsys)["status"] == status


@pytest.mark.parametrize("path", sorted(HERE - {"up", "doctor"}))
def test_without_settings_the_status_is_1_in_one_line(path: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "memrelay.cli", *right(path), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (exits.FAILED, "")
    told = json.loads(done.stderr)["error"]
    assert told["detail"].startswith("no drivers are configured")
    assert (told["code"], told["status"]) == ("config", exits.FAILED)


@pytest.mark.parametrize("path", [path for path in COMMANDS if path not in SERVERS])
def test_every_command_speaks_json(path: str) -> None:
    assert ["--json"] in [parameter.opts for parameter in declared(path).params]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_help_ends_with_examples_that_are_right(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path.split(), "--help"]) == exits.OK
    shown = capsys.readouterr().out
    assert EXAMPLES[path]
    for example in EXAMPLES[path]:
        assert f"\n    {example}\n" in shown, shown
        ours = example.rpartition("memrelay " + path)[2].partition(" | ")[0].partition(" < ")[0]
        words = [word for word in shlex.split(ours) if word]
        for word in words:
            if word.endswith((".ndjson", ".gz")) and path == "import":
                Path(word).write_text("")
        declared(path).make_context(path, words)  # raises where it is wrong


def test_help_and_a_search_load_no_server() -> None:
    program = (
        "import sys; from memrelay.cli import options; from memrelay.cli.app import run;"
        "options.PATIENCE = 0; run(['--help']); run(['search', 'tea']);"
        f"print('loaded:', *(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "cannot reach memrelay" in done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_asking_for_json_leaves_nothing_behind() -> None:
    before = dict(os.environ)
    run(["count", "--json"])
    assert dict(os.environ) == before
