"""``memrelay export`` of a running service: what comes out goes in again, and is the same."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from backends import export as exporting
from backends.export import Export
from backends.journal.members import retire
from backends.journal.spaces import begin
from memrelay import exits
from memrelay.cli.app import run
from memrelay.embedded.apps import app_command
from memrelay.errors import MemrelayError
from tests.bench import NAMESPACE, Bench
from tests.integration.conftest import Remember
from tests.integration.test_reembed import NEW, Other
from tests.rig import Load, Rig, memory
from tests.service import Service
from workers import reembed as reembedding

FULL = {
    "text": 'of "quotes", \\ and\nlines: ä 漢 😀',
    "session_id": "s é",
    "tags": ["a", "b c"],
    "metadata": {"n": 2**53, "f": 0.1, "deep": {"list": [1, None, True, "x"], "empty": []}},
    "created_at": "2019-02-03T04:05:06.000007Z",
    "expires_at": "2199-01-01T00:00:00.000001Z",
}


@pytest.fixture(autouse=True)
def settings(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in service.env.items():
        if name.startswith("MEMRELAY_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("MEMRELAY_URL", service.url)


def exported(path: Path, source: str, *arguments: str) -> list[dict[str, Any]]:
    """The lines of a file that was written now, in ids' order."""
    assert run(["export", str(path), "--source", source, *arguments]) == exits.OK
    return [json.loads(line) for line in path.read_text().splitlines()]


def views(http: httpx.Client, source: str, ids: list[str]) -> list[dict[str, Any]]:
    found = [http.get(f"/v1/memories/{id}", params={"source": source}).json() for id in ids]
    return [{k: v for k, v in view.items() if k != "version"} for view in found]


def emptied(http: httpx.Client, source: str, ids: list[str]) -> None:
    answer = http.post("/v1/memories/delete", json={"ids": ids, "source": source})
    assert answer.status_code in (200, 202)
    assert {v.get("status") for v in views(http, source, ids)} == {404}


@pytest.mark.parametrize("source", ["plain", "vectors"])
def test_what_was_exported_and_imported_again_is_the_same(
    http: httpx.Client, remember: Remember, user: str, tmp_path: Path, source: str
) -> None:
    bring = {"vector": [0.25, -1.5, 0.1, 3.0, 0, 0, 1e-9, 2]} if source == "vectors" else {}
    full = FULL | bring | {"id": f"{user}-full", "user_id": user}
    bare = {"text": "bare", "id": f"{user}-bare"} | bring
    over = {"text": "over", "id": f"{user}-over", "expires_at": "2020-01-01T00:00:00Z"} | bring
    remember([full, bare, over], source=source)
    ids = [f"{user}-bare", f"{user}-full"]
    before = views(http, source, ids)
    lines = exported(tmp_path / "one.ndjson", source)
    own = [line for line in lines if line["id"].startswith(user)]
    assert [line["id"] for line in own] == ids, "each once, in order, without what has expired"
    assert [line["id"] for line in lines] == sorted(line["id"] for line in lines)
    if bring:
        assert own[1]["vector"] == pytest.approx(bring["vector"], rel=1e-6)
    emptied(http, source, ids)
    (tmp_path / "own.ndjson").write_text("".join(json.dumps(line) + "\n" for line in own))
    assert run(["import", str(tmp_path / "own.ndjson"), "--source", source]) == exits.OK
    assert views(http, source, ids) == before
    again = exported(tmp_path / "two.ndjson", source)
    assert [line for line in again if line["id"].startswith(user)] == own


def test_vectors_come_along_where_they_are_asked_for(
    remember: Remember, user: str, tmp_path: Path
) -> None:
    remember([{"text": "with its vector", "id": user}], source="plain")
    [line] = [x for x in exported(tmp_path / "v", "plain", "--vectors") if x["id"] == user]
    assert len(line["vector"]) == 256
    [line] = [x for x in exported(tmp_path / "n", "plain") if x["id"] == user]
    assert "vector" not in line


def test_file_that_is_there_is_not_written_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine"
    path.write_text("precious")
    assert run(["export", str(path)]) == exits.FAILED
    assert path.read_text() == "precious"
    assert "exists already" in capfd.readouterr().err
    assert run(["export", str(tmp_path / "nowhere" / "file")]) == exits.FAILED
    assert run(["export", str(tmp_path / "no"), "--source", "unheard"]) == exits.FAILED
    assert {entry.name for entry in tmp_path.iterdir()} == {"mine"}


def test_export_under_load_has_what_was_accepted_before(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = make_rig().start()
    rig.writer().put([memory(f"kept{n}", f"number {n}") for n in range(900)])
    path = tmp_path / "file"
    with Load(rig, seed=31, writers=2, ids=200):
        time.sleep(0.5)
        done = subprocess.run(
            app_command("backends.export", [str(path), "", "default"]),
            env=rig.service.env,
            stdout=subprocess.DEVNULL,
            check=False,
        )
    assert done.returncode == exits.OK
    ids = [json.loads(line)["id"] for line in path.read_text().splitlines()]
    assert {f"kept{n}" for n in range(900)} <= set(ids)
    assert len(ids) == len(set(ids))


def test_export_that_is_killed_leaves_no_file_that_could_be_taken_for_whole(
    rig: Rig, tmp_path: Path
) -> None:
    writer = rig.writer()
    for first in range(0, 8000, 1000):
        writer.put([memory(f"m{n}", f"number {n}") for n in range(first, first + 1000)])
    rig.wait_drained(180)
    path = tmp_path / "file"
    process = subprocess.Popen(
        app_command("backends.export", [str(path), "", "default", "--vectors"]),
        env=rig.service.env,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not path.exists()


@pytest.fixture
def bench(journal_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Twenty memories, which an export reads in four pages."""
    bench = Bench(journal_url, tmp_path)
    bench.room.sources._embedders[NEW.model] = Other()
    bench.enter("ab")
    bench.put(*[f"m{number:02}" for number in range(20)])
    bench.work()
    monkeypatch.setattr(exporting, "PAGE", 5)
    monkeypatch.setattr(reembedding, "GRACE_MS", 0)
    yield bench
    bench.close()


def written_while(bench: Bench, happens: Callable[[], Awaitable[Any]]) -> int:
    """How many an export writes, if something happens after its second page."""
    it = Export(bench.journal, bench.room.sources.by_name["default"], NAMESPACE, vectors=False)
    pages = it._pages

    async def interrupted(store: Any) -> AsyncIterator[Any]:
        number = 0
        async for lines in pages(store):
            yield lines
            number += 1
            if number == 2:
                await happens()

    it._pages = interrupted  # type: ignore[method-assign]
    return int(bench.run(it.write(io.BytesIO())))


def test_export_fails_if_the_source_moves_to_another_space_meanwhile(bench: Bench) -> None:
    async def moves() -> None:
        current = bench.room.sources.by_name["default"].space
        await begin(bench.journal, "default", NEW, current)
        for _ in range(4):
            await bench.room.sources.look(bench.journal)
            await reembedding.reembed(bench.room)

    with pytest.raises(MemrelayError, match="export again"):
        written_while(bench, moves)


def test_export_fails_if_the_driver_that_it_reads_is_retired_meanwhile(bench: Bench) -> None:
    async def purged() -> None:
        await retire(bench.journal, "default", "a")
        store, scope = bench.room.sources.stores["a"], bench.scope
        await store.call(scope, lambda driver: driver.purge(scope))

    with pytest.raises(MemrelayError, match="export again"):
        written_while(bench, purged)


def test_export_goes_on_while_another_space_is_built(bench: Bench) -> None:
    current = bench.room.sources.by_name["default"].space
    assert written_while(bench, lambda: begin(bench.journal, "default", NEW, current)) == 20
