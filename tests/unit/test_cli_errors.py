"""What goes wrong is one line on stderr and an exit status, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memrelay import exits
from memrelay.cli.app import INTERRUPTED, run
from memrelay.embedded.ports import free_port
from memrelay.seeds import SEED_NAMES
from tests.unit.scripted import Reply, Scripted, problem


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No service, no settings, no state of the user's."""
    for name in os.environ:
        if name.startswith("MEMRELAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MEMRELAY_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def _line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("memrelay: ")
    return err


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "Ana likes tea"],
        ["search", "tea"],
        ["get", "a"],
        ["rm", "a"],
        ["count"],
        ["jobs", "ls"],
        ["jobs", "show", "job_1_1"],
        ["jobs", "wait", "job_1_1"],
    ],
)
def test_without_a_service_every_command_names_the_address(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == exits.UNAVAILABLE
    assert os.environ["MEMRELAY_URL"] in _line(capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["add"],
        ["count", "--nope"],
        ["count", "--filter", "{"],
        ["count", "--filter", "[1]"],
        ["add", "x", "--metadata", "3"],
        ["search", "x", "--top-k", "0"],
        ["search", "x", "--mode", "psychic"],
        ["jobs", "ls", "--status", "nope"],
        ["import", "missing.ndjson"],
        ["migrate", "--from", "redis"],
        ["reembed"],
        ["reembed", "--model", "a/b", "--cancel"],
        ["export"],
        ["import", "/dev/null"],
        ["up", "--sample", "missing.ndjson"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == exits.USAGE
    assert "memrelay --help" in _line(capsys)


@pytest.mark.parametrize("arguments", [[], ["jobs"]])
def test_a_group_alone_shows_its_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == exits.USAGE
    assert "Commands:" in capsys.readouterr().err


def test_a_wrong_address_is_a_wrong_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["count", "--url", "localhost:8700"]) == exits.FAILED
    assert "MEMRELAY_URL" in _line(capsys)


@pytest.mark.parametrize(
    ("status", "exit_status"),
    [(404, exits.FAILED), (422, exits.FAILED), (429, exits.UNAVAILABLE), (503, exits.UNAVAILABLE)],
)
def test_an_answer_that_is_an_error_decides_the_exit_status(
    status: int, exit_status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with Scripted() as server:
        server.script(problem(status, {"Retry-After": "60"}))
        assert run(["count", "--url", server.url]) == exit_status
    assert "As the script says." in _line(capsys)


def test_an_import_without_a_service_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text('{"text": "a"}\n')
    assert run(["import", str(file)]) == exits.UNAVAILABLE
    assert "--resume" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop.ndjson").symlink_to("loop.ndjson")
    assert run(["import", "loop.ndjson"]) in (exits.USAGE, exits.FAILED)
    assert "loop.ndjson" in _line(capsys)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("stored", exits.OK),
        ("partial", exits.PARTIAL),
        ("failed", exits.FAILED),
        ("canceled", exits.FAILED),
        ("processing", exits.UNAVAILABLE),
    ],
)
def test_waiting_for_a_job_gives_its_verdict(
    status: str, verdict: int, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"redis": {"total": 2, "stored": 1, "failed": 1}}
    job = {"id": "job_1_2", "status": status, "total": 2, "counts": counts}
    with Scripted() as server:
        server.script(Reply(200, job))
        url = ["--url", server.url]
        assert run(["jobs", "wait", "job_1_2", "--timeout", "0", "--json", *url]) == verdict
    assert json.loads(capsys.readouterr().out)["status"] == status


def test_nothing_of_a_memory_is_obeyed_by_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hit: dict[str, Any] = {
        "id": "a",
        "text": "red \x1b[31m\r\nline\u009b2J two",
        "user_id": None,
        "session_id": None,
        "source": "default",
        "tags": [],
        "metadata": {},
        "created_at": "2026-01-31T12:00:00Z",
        "expires_at": None,
        "version": 1,
        "score": 0.5,
    }
    answer = {"hits": [hit], "mode": "hybrid", "served_by": ["redis"], "fallback": False}
    with Scripted() as server:
        server.script(Reply(200, {**answer, "behind": 0, "took_ms": 1.0}))
        assert run(["search", "x", "--url", server.url]) == exits.OK
    assert capsys.readouterr().out == "0.500\ta\t\tred  [31m line 2J two\n"


def test_a_replay_that_takes_several_requests_names_all_its_jobs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobs = [{"id": f"job_{n}", "status": "accepted"} for n in range(3)]
    with Scripted() as server:
        server.script(
            Reply(202, {"replayed": 10_240, "jobs": jobs[:2], "more": True}),
            Reply(202, {"replayed": 5, "jobs": jobs[2:], "more": False}),
        )
        assert run(["dlq", "replay", "--all", "--json", "--url", server.url]) == exits.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["replayed"], told["more"]) == (10_245, False)
    assert [job["id"] for job in told["jobs"]] == ["job_0", "job_1", "job_2"]


def test_version_and_help_are_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == exits.OK
    assert run(["import", "--help"]) == exits.OK
    assert "--resume" in capsys.readouterr().out


def test_ctrl_c_is_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal
    import threading

    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    assert run(["count"]) == INTERRUPTED
    timer.join()
    assert capsys.readouterr().err == ""


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m memrelay.cli --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["api", "worker"])
def test_servers_pass_their_exit_status_through(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "memrelay.cli", command],
        env={k: v for k, v in os.environ.items() if k not in SEED_NAMES},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exits.FAILED
    assert done.stderr.startswith(f"memrelay {command}: no drivers are configured")
    assert done.stderr.count("\n") == 1
