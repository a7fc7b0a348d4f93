"""``memrelay import``: of compressed files and pipes, and through what befalls either side."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.native.redis import RedisServer
from memrelay import exits
from memrelay.client import Memrelay
from tests.cli import COMMAND, START_SECONDS, environment_in
from tests.rig import wait_until
from tests.service import Service, settings_on

LINES = 12_000


@pytest.fixture
def environment(service: Service, tmp_path: Path) -> dict[str, str]:
    return environment_in(tmp_path, MEMRELAY_URL=service.url)


@pytest.fixture
def relay(service: Service) -> Iterator[Memrelay]:
    with Memrelay(service.url) as client:
        yield client


def content(user: str, lines: int) -> bytes:
    return b"".join(
        json.dumps({"text": f"line {n}", "user_id": user}).encode() + b"\n"
        for n in range(1, lines + 1)
    )


def imported(
    environment: Mapping[str, str], *arguments: str | Path, stdin: bytes | None = None
) -> tuple[int, dict[str, Any], str]:
    """Exit status, report and what was said."""
    done = subprocess.run(
        [*COMMAND, "import", *arguments, "--quiet", "--json"],
        env=environment,
        input=stdin,
        capture_output=True,
        timeout=300,
        check=False,
    )
    said = done.stderr.decode()
    return done.returncode, json.loads(done.stdout or "{}"), said


def test_a_compressed_file_is_the_same_import_as_what_is_in_it(
    environment: Mapping[str, str], relay: Memrelay, user: str, tmp_path: Path
) -> None:
    plain, packed = tmp_path / "a.ndjson", tmp_path / "a.ndjson.gz"
    plain.write_bytes(content(user, 300))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for file in (packed, plain):
        status, report, said = imported(environment, file)
        assert (status, report["accepted"], said) == (exits.OK, 300, "")
    assert relay.count(user_id=user).count == 300
    packed.write_bytes(packed.read_bytes()[:-20])
    status, _, said = imported(environment, packed)
    assert status == exits.FAILED
    assert json.loads(said)["error"]["detail"].startswith(f"{packed}: a damaged gzip file")


def test_a_line_that_is_wrong_is_named_and_the_others_are_taken(
    environment: Mapping[str, str], relay: Memrelay, user: str, tmp_path: Path
) -> None:
    lines = content(user, 5).splitlines(keepends=True)
    lines[2:3] = [b'{"text": "cut off\n', b'{"text": 7}\n']
    (tmp_path / "a").write_bytes(b"".join(lines))
    status, report, said = imported(environment, tmp_path / "a")
    assert status == exits.PARTIAL
    assert (report["accepted"], report["refused"]) == (4, 2)
    assert [refusal["line"] for refusal in report["refusals"]] == [3, 4]
    assert "line 3: " in said
    assert "/text" in said
    assert relay.count(user_id=user).count == 4


def test_stdin_under_a_key_is_stored_once(
    environment: Mapping[str, str], relay: Memrelay, user: str
) -> None:
    for _ in range(2):
        status, report, _ = imported(environment, "-", "--key", user, stdin=content(user, 200))
        assert (status, report["accepted"]) == (exits.OK, 200)
    assert relay.count(user_id=user).count == 200


def bookmarked(directory: Path) -> Callable[[], bool]:
    return lambda: any(directory.glob("state/memrelay/imports/*.json"))


def test_ctrl_c_on_a_pipe_that_goes_on_ends_at_once_and_can_be_resumed(
    environment: Mapping[str, str], relay: Memrelay, user: str, tmp_path: Path
) -> None:
    whole = content(user, LINES)
    with subprocess.Popen(
        [*COMMAND, "import", "-", "--key", user, "--quiet"],
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None and running.stderr is not None
        running.stdin.write(whole[: len(whole) // 2])
        running.stdin.flush()
        wait_until("a bookmark", bookmarked(tmp_path), START_SECONDS)
        running.send_signal(signal.SIGINT)
        assert running.wait(START_SECONDS) == exits.PARTIAL  # although its stdin is open still
        said = running.stderr.read().decode()
    assert f"go on with: memrelay import - --resume --key {user}\n" in said
    status, report, said = imported(environment, "-", "--key", user, "--resume", stdin=whole)
    assert status == exits.OK
    assert said == "going on after line 5000\n"
    assert report["accepted"] == LINES - 5000
    assert relay.count(user_id=user).count == LINES


@pytest.mark.parametrize("arguments", [["-", "--resume"], ["a", "--key", "k"], ["."]])
def test_options_that_do_not_go_with_the_input_are_wrong_usage(
    arguments: list[str], environment: Mapping[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "a"
    file.write_text("")
    words = [str(file) if word == "a" else word for word in arguments]
    status, _, said = imported(environment, *words, stdin=b"")
    assert status == exits.USAGE
    assert json.loads(said)["error"]["code"] == "usage"


def test_an_import_goes_on_when_everything_was_killed_and_started_again(
    redis_server_factory: Callable[..., RedisServer], user: str, tmp_path: Path
) -> None:
    url = redis_server_factory().url
    env = settings_on(url, tmp_path)
    file = tmp_path / "a.ndjson"
    file.write_bytes(content(user, 2 * LINES))
    with Service(env, tmp_path) as service:
        running = subprocess.Popen(
            [*COMMAND, "import", file, "--json"],
            env=environment_in(tmp_path, MEMRELAY_URL=service.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait_until("a bookmark", bookmarked(tmp_path), START_SECONDS)
        service.kill_api()
        service.kill_worker()
        service.start()
        told, said = running.communicate(timeout=300)
        assert running.returncode == exits.OK, said
        assert json.loads(told)["accepted"] == 2 * LINES
        with Memrelay(service.url) as client:
            assert client.count(user_id=user).count == 2 * LINES
