"""The SQLite driver on real files: several processes, kills, locks, and paths that do not work."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import apsw
import pytest

from backends.sqlite import SqliteDriver, create, schema
from backends.sqlite.conditions import MAX_BOUND, necessary
from backends.sqlite.errors import TRANSLATIONS, translated
from memrelay.driver import Driver, Query
from memrelay.errors import ConfigError, Permanent, Transient, Unavailable
from memrelay.filters import parse_filter
from memrelay.testing.conformance.harness import Model, apply_all, assert_holds, scanned
from memrelay.testing.samples import NOW, SPACE, upsert, upserts
from memrelay.types import Delete, Op, Scope

SCOPE = Scope(namespace="tests", source="default", space=SPACE)
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memories.db"


@pytest.fixture
async def driver(path: Path) -> AsyncIterator[Driver]:
    driver = create("replica", {"path": path})
    await driver.open()
    yield driver
    await driver.close()


LAYOUT_1 = """
DROP INDEX memories_of_user;
DROP INDEX memories_by_expiry;
DROP INDEX tombstones_by_version;
CREATE INDEX memories_by_user ON memories (scope, user_id);
PRAGMA user_version = 1;
"""


@pytest.mark.parametrize("settings", [{}, {"path": ""}, {"path": 5}, {"path": "x", "wal": True}])
def test_wrong_settings_are_one_line_with_the_name(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"^drivers\.replica\.(path|wal): [^\n]+$"):
        create("replica", settings)


async def test_missing_folders_are_made(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "memories.db"
    driver = create("replica", {"path": str(file)})
    await driver.open()
    await driver.close()
    assert file.is_file()


async def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    driver = create("replica", {"path": tmp_path / "file" / "memories.db"})
    with pytest.raises(Unavailable, match=r"cannot make the folder .*/file: [^\n]+$"):
        await driver.open()


async def test_a_path_that_is_a_folder_is_one_clear_error(tmp_path: Path) -> None:
    driver = create("replica", {"path": tmp_path})
    with pytest.raises(Unavailable, match=f"cannot open the file {tmp_path}: [^\n]+$"):
        await driver.open()


async def test_what_a_memory_fails_with_does_not_say_where_the_file_is(
    path: Path, driver: Driver
) -> None:
    """It is told to whoever asks for the job."""
    await driver.ensure(SCOPE)
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON memories BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    connection.close()
    with pytest.raises(Permanent, match=r"^replica: ConstraintError: no room$"):
        await driver.apply(SCOPE, upserts(1))


async def test_a_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    other = b"not a database " * 100
    await asyncio.to_thread(path.write_bytes, other)
    with pytest.raises(Permanent, match="NotADBError"):
        await create("replica", {"path": path}).open()
    assert await asyncio.to_thread(path.read_bytes) == other


async def test_a_file_of_a_newer_layout_is_refused(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", schema.VERSION + 1)
    connection.close()
    with pytest.raises(Permanent, match="newer memrelay"):
        await create("replica", {"path": path}).open()


async def test_a_file_of_the_first_layout_gets_the_indexes_of_this_one(
    path: Path, driver: Driver
) -> None:
    model = await apply_all(driver, SCOPE, [*upserts(20), Delete("gone", 99)])
    await driver.close()
    indexes = "SELECT name FROM sqlite_schema WHERE type = 'index' ORDER BY name"
    file = apsw.Connection(str(path))
    expected = file.execute(indexes).fetchall()
    file.execute(LAYOUT_1)
    assert file.execute(indexes).fetchall() != expected
    await driver.open()
    assert file.execute(indexes).fetchall() == expected
    file.close()
    await assert_holds(driver, SCOPE, model)


async def test_a_driver_that_is_not_open_says_so(path: Path, driver: Driver) -> None:
    with pytest.raises(Permanent, match="replica is not open"):
        await create("replica", {"path": path}).ping()
    await driver.close()
    with pytest.raises(Permanent, match="replica is not open"):
        await driver.get(SCOPE, ["a"])


async def test_memories_are_there_after_reopening(path: Path, driver: Driver) -> None:
    model = await apply_all(driver, SCOPE, [*upserts(50), Delete("gone", 99)])
    await driver.close()
    again = SqliteDriver("again", path)
    await again.open()
    await assert_holds(again, SCOPE, model)
    await again.close()


def history() -> list[Op]:
    """600 writes of 40 ids: what every process applies, in an order of its own."""
    rng = random.Random(1)
    ops: list[Op] = []
    for version in range(1, 601):
        id = f"id{version % 40}"
        if rng.random() < 0.2:
            ops.append(Delete(id, version))
        else:
            ops.append(upsert(id, version=version, user_id=rng.choice(("ann", "bob", None))))
    return ops


def write_shuffled(path: str, seed: int) -> int:
    """One process: open the file (all at once, the first makes it), apply the history in small batches."""

    async def write() -> int:
        driver = create("replica", {"path": path})
        await driver.open()
        ops = history()
        random.Random(seed).shuffle(ops)
        batches = 0
        while ops:
            batch = {op.id: op for op in ops[:10]}
            ops = [op for op in ops if batch.get(op.id) is not op]
            await driver.apply(SCOPE, list(batch.values()))
            batches += 1
        await driver.close()
        return batches

    return asyncio.run(write())


async def test_three_processes_write_one_new_file_at_once(path: Path) -> None:
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(3, mp_context=SPAWN) as pool:
        work = [loop.run_in_executor(pool, write_shuffled, str(path), n) for n in range(3)]
        assert min(await asyncio.gather(*work)) >= 60
    model = Model()
    model.apply(history())
    driver = create("replica", {"path": path})
    await driver.open()
    await assert_holds(driver, SCOPE, model)
    await driver.close()


def write_for_ever(path: str) -> None:
    """One process: batches of 50 until it is killed."""

    async def write() -> None:
        driver = create("replica", {"path": path})
        await driver.open()
        for number in range(1_000_000):
            await driver.apply(
                SCOPE, upserts(50, first_version=1 + 50 * number, prefix=f"{number}-")
            )

    asyncio.run(write())


async def test_a_killed_writer_leaves_whole_batches(path: Path, driver: Driver) -> None:
    process = SPAWN.Process(target=write_for_ever, args=(str(path),))
    process.start()
    while await driver.count(SCOPE, None, now=NOW) < 500:  # noqa: ASYNC110 another process writes
        await asyncio.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.to_thread(process.join)
    total = await driver.count(SCOPE, None, now=NOW)
    assert total % 50 == 0
    assert [entry.version for entry in await scanned(driver, SCOPE)] == list(range(1, total + 1))
    words = Query(mode="keyword", text=" ".join(["coffee", "tea"]), top_k=5, now=NOW)
    assert len(await driver.search(SCOPE, words)) == 5
    await driver.apply(SCOPE, [Delete("1-00000", 10**9)])
    check = apsw.Connection(str(path))
    assert check.pragma("integrity_check") == "ok"
    check.close()


async def test_a_waiting_write_does_not_hold_up_the_loop(path: Path, driver: Driver) -> None:
    await driver.ensure(SCOPE)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(driver.apply(SCOPE, [upsert("a")]))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    other.execute("COMMIT")
    other.close()
    assert (await waiting)["a"].status == "applied"


async def test_a_lock_that_lasts_is_transient(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.1)
    driver = create("replica", {"path": path})
    await driver.open()
    await driver.ensure(SCOPE)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="BusyError"):
        await driver.apply(SCOPE, [upsert("a")])
    other.execute("ROLLBACK")
    other.close()
    assert (await driver.apply(SCOPE, [upsert("a")]))["a"].status == "applied"
    await driver.close()


async def test_reads_go_on_while_another_process_writes(path: Path, driver: Driver) -> None:
    await apply_all(driver, SCOPE, [upsert("a")])
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM memories")
    assert set(await driver.get(SCOPE, ["a"])) == {"a"}
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("_ Zürich", True),
        ("zurich", True),
        ("_", False),
        ("flight_to", True),
        ("to_flight", False),
        (" ".join(f"word{n}" for n in range(255)) + " zurich", True),
        ("zurich " + "x" * 60_000, True),
        ("zurich\x00", True),
    ],
)
async def test_keyword_queries_of_every_kind(driver: Driver, text: str, found: bool) -> None:
    await apply_all(
        driver, SCOPE, [upsert("z", text="A flight to Zürich"), upsert("o", text="other")]
    )
    hits = await driver.search(SCOPE, Query(mode="keyword", text=text, top_k=5, now=NOW))
    assert [hit.memory.id for hit in hits] == (["z"] if found else [])


async def test_a_delete_of_an_impossible_id_fails_alone(driver: Driver) -> None:
    outcomes = await driver.apply(SCOPE, [Delete("\ud83d", 1), Delete("a", 2)])
    assert [outcomes[id].status for id in ("\ud83d", "a")] == ["failed", "applied"]


async def test_a_foreign_cursor_is_refused(driver: Driver) -> None:
    for cursor in ("", "x", "x:y", "-1:a"):
        with pytest.raises(Permanent, match="not a cursor"):
            await driver.scan(SCOPE, cursor=cursor)


async def test_filters_of_more_values_than_sqlite_binds_are_left_to_the_exact_filter(
    driver: Driver,
) -> None:
    await apply_all(driver, SCOPE, upserts(20))
    many = [f"x{n}" for n in range(999)]
    raw = {"$or": [{"id": {"$in": [*many, f"m{n:05d}"]}} for n in range(40)]}
    node = parse_filter(raw, {})
    assert necessary(node).text == "1"
    assert MAX_BOUND < 32_766
    assert await driver.count(SCOPE, node, now=NOW) == 20


def test_every_exception_of_apsw_has_a_translation() -> None:
    classes = {
        value
        for value in vars(apsw).values()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert classes == TRANSLATIONS.keys()


def test_exceptions_are_translated_with_what_was_at_work() -> None:
    for foreign, ours in TRANSLATIONS.items():
        with pytest.raises(ours, match=r"replica: .*: disk") as caught, translated("replica"):
            raise foreign("disk")
        assert type(caught.value) is ours
