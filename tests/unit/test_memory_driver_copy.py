"""Copying one memory driver to another: two files of SQLite, broken off and gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from memrelay import exits
from memrelay.compat.memory_driver import MemoryDriverManager
from memrelay.compat.memory_driver.copy import Place, copy, main
from memrelay.compat.memory_driver.record import Record
from memrelay.compat.memory_driver.shelved import ShelfDriver
from memrelay.errors import MemrelayError, Permanent, Unavailable
from tests.memory_drivers import clean


@pytest.fixture
def source(tmp_path: Path) -> Iterator[ShelfDriver]:
    with clean(MEMORY_SQLITE_PATH=str(tmp_path / "source.db")):
        driver = MemoryDriverManager.plain_driver("sqlite")
        assert isinstance(driver, ShelfDriver)
        yield driver


@pytest.fixture
def target(
    source: ShelfDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ShelfDriver]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMORY_SQLITE_PATH", str(tmp_path / "target.db"))
    MemoryDriverManager.register_driver("other", type(source))
    driver = MemoryDriverManager.plain_driver("other")
    assert isinstance(driver, ShelfDriver)
    yield driver
    driver.close()


def fill(source: ShelfDriver, count: int) -> None:
    source.store_many([{"user_id": f"u{n % 3}", "content": f"note {n}"} for n in range(count)])
    source.store_global_knowledge("a page", "policies", "Title", "D-1", {"pages": 3})
    source.store_global_knowledge("a page without id", "policies")


def test_everything_is_copied_as_it_is(
    source: ShelfDriver, target: ShelfDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(source, 700)
    assert main(["sqlite", "other"]) == exits.OK
    assert capsys.readouterr().out.endswith("702 copied, 0 refused\n")
    for user in ("u0", "u1", "u2"):
        assert target.recall(user, top_k=1000) == source.recall(user, top_k=1000)
    page = target.recall_global_knowledge("page", top_k=10)
    assert page == source.recall_global_knowledge("page", top_k=10)
    assert main(["sqlite", "other"]) == exits.OK
    assert len(target.page("memories", None, 512)) == 512


class Failing(ShelfDriver):
    """Stands before a driver: takes so many records, then it cannot be reached; refuses some for good."""

    def __init__(self, driver: ShelfDriver, takes: int, refuses: str = "nothing") -> None:
        self._driver = driver
        self._left = takes
        self._refuses = refuses

    def put(self, records: Sequence[Record]) -> list[Record | MemrelayError]:
        self._left -= len(records)
        if self._left < 0:
            raise Unavailable("away")
        return [
            Permanent("refused")
            if record.content == self._refuses
            else self._driver.put([record])[0]
            for record in records
        ]


def test_a_copy_goes_on_where_it_was_broken_off(
    source: ShelfDriver, target: ShelfDriver, tmp_path: Path
) -> None:
    fill(source, 1100)
    state = tmp_path / "state.json"
    with pytest.raises(Unavailable):
        copy(source, Failing(target, 1000), Place(state))
    reached = json.loads(state.read_text())["after:memories"]
    assert [record.id for record in source.page("memories", reached, 512)]
    done = copy(source, target, Place(state))
    assert done.copied == 102
    assert not state.exists()
    assert len(target.recall("u0", top_k=2000)) == len(source.recall("u0", top_k=2000))


def test_what_is_refused_is_named_and_the_rest_is_copied(
    source: ShelfDriver, target: ShelfDriver, tmp_path: Path
) -> None:
    fill(source, 5)
    done = copy(source, Failing(target, 100, refuses="note 3"), Place(tmp_path / "state.json"))
    assert (done.copied, list(done.refused.values())) == (6, ["refused"])


@pytest.mark.parametrize(
    ("words", "status"),
    [(["sqlite", "xyz"], exits.USAGE), (["sqlite", "relay"], exits.UNAVAILABLE)],
)
@pytest.mark.usefixtures("target")
def test_what_cannot_be_copied_ends_in_one_line(
    source: ShelfDriver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
) -> None:
    monkeypatch.setenv("MEMRELAY_URL", "http://127.0.0.1:1")
    fill(source, 1)
    assert main(words) == status
    assert capsys.readouterr().err.count("\n") == 1
