"""The command line against a running memrelay, and ``memrelay up`` as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from memrelay import Memrelay as Client
from memrelay import exits
from memrelay.cli.resume import Bookmark, Mark
from memrelay.client import NewMemory, key_of_file
from memrelay.embedded.ports import free_port, is_free
from tests.cli import COMMAND, START_SECONDS, STOP_SECONDS, environment_in, processes_in, up_in
from tests.rig import wait_until
from tests.service import Service

SAMPLE = Path(__file__).parents[2] / "examples" / "conversation.ndjson"

type Memrelay = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(service: Service, tmp_path: Path) -> dict[str, str]:
    return environment_in(tmp_path, MEMRELAY_URL=service.url)


@pytest.fixture
def memrelay(environment: Mapping[str, str], tmp_path: Path) -> Memrelay:
    """Runs one command to its end."""

    def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            **more,
        )

    return run


def _json(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_a_memory_is_added_found_and_removed(memrelay: Memrelay, user: str) -> None:
    options = ["--user", user, "--tag", "food", "--metadata", '{"category": "fact"}']
    added = memrelay("add", "Ana is allergic to peanuts.", *options, "--wait", "--json")
    assert added.returncode == exits.OK
    id = _json(added)["memories"][0]["id"]

    found = memrelay("search", "what must Ana not eat?", "--user", user)
    assert found.returncode == exits.OK
    score, *rest = found.stdout.splitlines()[0].split("\t")
    assert -1 <= float(score) <= 1
    assert rest == [id, user, "Ana is allergic to peanuts."]

    assert _json(memrelay("get", id, "--json"))["metadata"] == {"category": "fact"}
    assert memrelay("count", "--user", user, "--filter", '{"tags": "food"}').stdout == "1\n"
    assert memrelay("rm", id, "--wait").returncode == exits.OK
    gone = memrelay("get", id)
    assert (gone.returncode, gone.stderr) == (exits.FAILED, "memrelay: There is no such memory.\n")


def test_a_search_may_put_newer_memories_first(
    memrelay: Memrelay, service: Service, user: str
) -> None:
    with Client(service.url) as client:
        for n, year in enumerate((2020, 2026)):
            created = datetime(year, 1, 1, tzinfo=UTC)
            memory: NewMemory = {"text": "Ana moves.", "user_id": user, "created_at": created}
            client.add({**memory, "id": f"{user}-{n}"}, wait=60)
    found = _json(memrelay("search", "Ana", "--user", user, "--recency", "365", "--json"))
    assert [hit["id"] for hit in found["hits"]] == [f"{user}-1", f"{user}-0"]
    refused = memrelay("search", "Ana", "--recency", "nan")
    assert refused.returncode == exits.USAGE
    assert "--recency: a number of days above 0" in refused.stderr


def test_text_may_come_from_stdin(memrelay: Memrelay, user: str) -> None:
    added = memrelay("add", "-", "--user", user, "--wait", "--json", input="from a pipe\n")
    id = _json(added)["memories"][0]["id"]
    assert _json(memrelay("get", id, "--json"))["text"] == "from a pipe\n"


def test_a_job_is_listed_shown_and_waited_for(memrelay: Memrelay, user: str) -> None:
    job = _json(memrelay("add", "a job", "--user", user, "--json"))["job"]["id"]
    assert memrelay("jobs", "wait", job, "--timeout", "120").returncode == exits.OK
    assert job in memrelay("jobs", "ls", "--limit", "100").stdout
    assert _json(memrelay("jobs", "show", job, "--json"))["status"] == "stored"


def test_a_memory_that_is_wrong_fails_and_names_the_field(memrelay: Memrelay) -> None:
    refused = memrelay("add", "  ")
    assert refused.returncode == exits.FAILED
    assert "/memories/0/text is blank" in refused.stderr


def _ndjson(path: Path, user: str, count: int) -> Path:
    lines = (json.dumps({"text": f"line {n}", "user_id": user}) for n in range(1, count + 1))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_file_imported_twice_is_stored_once(
    memrelay: Memrelay, user: str, tmp_path: Path
) -> None:
    file = _ndjson(tmp_path / "a.ndjson", user, 700)
    for _ in range(2):
        done = memrelay("import", str(file), "--quiet", "--json")
        assert done.returncode == exits.OK
        report = _json(done)
        assert (report["accepted"], report["refused"], report["failed"]) == (700, 0, 0)
        assert report["job"]["counts"]["redis"]["stored"] >= 700
    assert memrelay("count", "--user", user).stdout == "700\n"


def test_refused_lines_make_an_import_partial(
    memrelay: Memrelay, user: str, tmp_path: Path
) -> None:
    file = _ndjson(tmp_path / "a.ndjson", user, 2)
    with file.open("a") as appended:
        appended.write('{"text": " "}\n')
    done = memrelay("import", str(file))
    assert done.returncode == exits.PARTIAL
    assert "line 3: invalid: /text is blank" in done.stderr
    assert "3 read, 2 accepted, 2 stored, 1 failed" in done.stderr
    assert done.stdout.startswith("2 stored, 1 refused, 0 failed in ")
    assert not list(tmp_path.glob("state/memrelay/imports/*"))


def test_ctrl_c_leaves_an_import_that_can_be_resumed(
    memrelay: Memrelay, environment: Mapping[str, str], user: str, tmp_path: Path
) -> None:
    file = _ndjson(tmp_path / "a.ndjson", user, 30_000)
    running = subprocess.Popen(
        [*COMMAND, "import", file], env=environment, stderr=subprocess.PIPE, text=True
    )
    wait_until(
        "a bookmark",
        lambda: bool(list(tmp_path.glob("state/memrelay/imports/*.json"))),
        START_SECONDS,
    )
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=120)
    assert running.returncode == exits.PARTIAL
    assert f"go on with: memrelay import {file} --resume" in told
    (bookmark,) = tmp_path.glob("state/memrelay/imports/*.json")
    line = json.loads(bookmark.read_bytes())["line"]
    assert 0 < line < 30_000
    assert line % 5000 == 0

    resumed = memrelay("import", str(file), "--resume", "--json", "--quiet")
    assert resumed.returncode == exits.OK
    assert resumed.stderr == f"going on after line {line}\n"
    assert json.loads(resumed.stdout)["accepted"] == 30_000 - line
    assert memrelay("count", "--user", user).stdout == "30000\n"
    assert not bookmark.exists()


def test_a_resumed_import_waits_for_what_was_accepted_before(
    memrelay: Memrelay, service: Service, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _ndjson(tmp_path / "a.ndjson", user, 40)
    job = _json(memrelay("import", str(file), "--json", "--quiet"))["job"]["id"]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key = key_of_file(file)
    Bookmark.of(file, service.url, "default", key).write(Mark(key, 40, 0, job))

    resumed = memrelay("import", str(file), "--resume", "--quiet")
    assert resumed.returncode == exits.OK
    assert resumed.stdout.startswith("40 stored, 0 refused, 0 failed in ")
    assert resumed.stdout.endswith(f"; job {job}\n")


def test_a_driver_that_is_not_there_is_told_with_those_that_are(memrelay: Memrelay) -> None:
    for command in ("sync", "join", "retire"):
        done = memrelay(command, "nowhere")
        assert done.returncode == exits.FAILED
        assert done.stderr.endswith("no such driver, but redis, sqlite.\n")


def test_canceling_what_has_ended_says_why_nothing_was_canceled(
    memrelay: Memrelay, user: str
) -> None:
    job = _json(memrelay("add", "Ana sits.", "--user", user, "--wait", "--json"))["job"]["id"]
    done = memrelay("jobs", "cancel", job)
    assert done.stdout.startswith("0 memories of 0 jobs are canceled; no such job has a memory")


def test_a_changed_file_is_not_resumed(
    memrelay: Memrelay, environment: Mapping[str, str], user: str, tmp_path: Path
) -> None:
    file = _ndjson(tmp_path / "a.ndjson", user, 20_000)
    running = subprocess.Popen(
        [*COMMAND, "import", file], env=environment, stderr=subprocess.DEVNULL
    )
    wait_until(
        "a bookmark",
        lambda: bool(list(tmp_path.glob("state/memrelay/imports/*.json"))),
        START_SECONDS,
    )
    running.kill()
    running.wait()
    _ndjson(file, user, 10)
    refused = memrelay("import", str(file), "--resume")
    assert refused.returncode == exits.USAGE
    assert "the file has changed" in refused.stderr


def test_on_a_terminal_an_import_draws_bars(
    environment: Mapping[str, str], user: str, tmp_path: Path
) -> None:
    file = _ndjson(tmp_path / "a.ndjson", user, 6000)
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [*COMMAND, "import", file],
        env={**environment, "TERM": "xterm-256color", "COLUMNS": "110"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = _read_terminal(ours)
    os.close(ours)
    assert running.wait(timeout=120) == exits.OK
    assert "\x1b[" in shown
    assert "accepted \x1b" in shown
    assert "━" in shown
    assert "6,000 of 6,000" in shown
    assert "6000 stored, 0 refused, 0 failed" in shown


def _read_terminal(descriptor: int) -> str:
    """Everything up to the end, which Linux tells as an error."""
    shown = b""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.5)[0]:
            try:
                shown += os.read(descriptor, 65_536)
            except OSError:
                break
    return shown.decode()


def test_up_answers_a_question_about_a_sample_and_keeps_it(tmp_path: Path) -> None:
    port = free_port()
    with up_in(tmp_path, port, "--sample", str(SAMPLE)) as up:
        up.until("search by")
        told = up.log.read_text()
        assert f"ready: {up.url}/ is the dashboard" in told
        assert "source default: in redis and sqlite, embedded by local/wordllama" in told
        assert "30 memories of" in told
        assert "taken in: stored (redis 30, sqlite 30)" in told
        _, _, answer = told.partition("asked: What does Ana prefer to eat?")
        assert "Thai and Indian curries" in answer.splitlines()[1]

        second = subprocess.run(
            [*COMMAND, "up"],
            env=environment_in(tmp_path, MEMRELAY_PORT=str(free_port())),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (second.returncode, second.stdout) == (exits.FAILED, "")
        assert second.stderr.startswith(
            f"memrelay: another memrelay up (process {up.process.pid}) runs in"
        )
        assert second.stderr.count("\n") == 1

        assert up.stop(signal.SIGTERM) == exits.OK
        assert up.log.read_text().endswith("up │ stopped\n")
    assert processes_in(tmp_path) == []
    assert is_free(port)

    with up_in(tmp_path, port) as again:
        again.until("ready: ")
        count = httpx.post(f"{again.url}/v1/memories/count", json={}).json()
        assert count["count"] == 30
        assert again.stop() == exits.OK


def test_a_killed_up_leaves_no_orphans_and_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    with up_in(tmp_path, port) as up:
        up.until("ready: ")
        memory = {"memories": [{"id": "a", "text": "accepted"}]}
        assert httpx.post(f"{up.url}/v1/memories", json=memory).status_code == 202
        assert len(processes_in(tmp_path)) >= 4
        up.process.kill()
        up.process.wait()
        with up_in(tmp_path, port) as again:
            again.until("ready: ")
            wait_until(
                "a",
                lambda: httpx.get(f"{again.url}/v1/memories/a").status_code == 200,
                START_SECONDS,
            )
            again.process.send_signal(signal.SIGINT)
            again.until("stopping; once more to make it fast")
            assert again.stop() == exits.OK  # and that was the second time
            assert "Traceback" not in again.log.read_text()
    wait_until("all to end", lambda: processes_in(tmp_path) == [], STOP_SECONDS)


def test_up_whose_log_nobody_reads_ends_in_order(tmp_path: Path) -> None:
    env = environment_in(tmp_path, MEMRELAY_PORT=str(free_port()))
    command = f"{' '.join(COMMAND)} up --json | head -n 1"
    done = subprocess.run(
        command, shell=True, env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line).keys() == {"at", "process", "level", "text"}
    assert "Traceback" not in done.stderr
    wait_until("its end", lambda: processes_in(tmp_path) == [], STOP_SECONDS)


def test_up_says_in_one_line_that_its_port_is_taken(service: Service, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "up"],
        env=environment_in(tmp_path, MEMRELAY_PORT=str(service.port)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (exits.FAILED, "")
    assert done.stderr.startswith(f"memrelay: port {service.port} on 127.0.0.1 is taken")
    assert done.stderr.count("\n") == 1


def test_up_stops_everything_when_one_of_its_processes_ends(tmp_path: Path) -> None:
    with up_in(tmp_path, free_port()) as up:
        up.until("ready: ")
        (api,) = [
            pid
            for pid in processes_in(tmp_path)
            if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"-m\0api\0")
        ]
        os.kill(api, signal.SIGKILL)
        assert up.process.wait(STOP_SECONDS) == exits.FAILED
        assert "api has ended" in up.log.read_text()
    wait_until("all to end", lambda: processes_in(tmp_path) == [], STOP_SECONDS)
