"""``memrelay verify`` on a real journal and real files: sound, in flight, damaged, and what a ledger says."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.journal.cancel import cancel
from memrelay import exits
from memrelay.cli.app import run
from memrelay.errors import Permanent
from memrelay.jobs import JobId
from memrelay.testing.faulty import Fault
from tests.bench import NAMESPACE, Bench


@pytest.fixture
def bench(journal_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(journal_url, tmp_path)
    drivers = {name: {"type": "sqlite", "path": str(tmp_path / f"{name}.db")} for name in "ab"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMRELAY_JOURNAL_URL", journal_url)
    monkeypatch.setenv("MEMRELAY_DRIVERS", json.dumps(drivers))
    monkeypatch.setenv("MEMRELAY_SOURCES", json.dumps({"default": {"drivers": ["a", "b"]}}))
    yield bench
    bench.close()


def verify(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    capfd.readouterr()
    status = run(["verify", "--json", *arguments])
    out = capfd.readouterr().out
    [statement] = json.loads(out)["statements"]
    return status, statement


def test_what_is_stored_everywhere_is_sound(bench: Bench, capfd: Any) -> None:
    bench.put("x", "y", "z")
    bench.put("x")
    bench.drop("y")
    bench.work()
    status, statement = verify(capfd)
    assert (status, statement["sound"]) == (exits.OK, True)
    for name in "ab":
        journal = statement["journal"][name]
        assert (journal["accepted"], journal["in_flight"], journal["balanced"]) == (5, 0, True)
        assert (statement["stores"][name]["live"], statement["stores"][name]["tombstones"]) == (
            2,
            1,
        )


def test_what_has_not_ended_is_in_flight_and_not_a_fault(bench: Bench, capfd: Any) -> None:
    bench.put("x")
    bench.work()
    bench.put("y")
    status, statement = verify(capfd)
    assert status == exits.PARTIAL
    assert statement["journal"]["a"]["in_flight"] == 1


def test_a_dead_letter_is_accounted_for(bench: Bench, capfd: Any) -> None:
    bench.put("x", "y")
    bench.fails("b", Fault(error=Permanent("no"), guilty=lambda op: op.id == "y"))
    bench.work()
    _, statement = verify(capfd)
    assert statement["dead_letters"] == {"a": 0, "b": 1}
    assert statement["journal"]["b"]["failed"] == 1
    assert statement["journal"]["b"]["balanced"]
    assert statement["divergence"]["peers"]["b"]["missing"] == 1


def test_what_was_canceled_is_accounted_for(bench: Bench, capfd: Any, tmp_path: Path) -> None:
    first = bench.put("x")
    bench.work()
    with sqlite3.connect(tmp_path / "a.db") as file:
        [(digest,)] = file.execute("SELECT digest FROM memories").fetchall()
    newer = bench.put("x", "y")
    bench.run(cancel(bench.journal, NAMESPACE, [JobId(newer, 2)]))
    promised = [("x", first, digest), ("x", newer, "other"), ("y", newer + 1, "other")]
    lines = [
        {"namespace": NAMESPACE, "id": id, "version": version, "digest": digest}
        for id, version, digest in promised
    ]
    ledger = tmp_path / "ledger.ndjson"
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    status, statement = verify(capfd, "--ledger", str(ledger))
    assert status == exits.OK
    for name in "ab":
        account = statement["stores"][name]["account"]
        assert (account["accepted"], account["visible"], account["canceled"]) == (3, 1, 2)
        assert statement["journal"][name]["canceled"] == 2
        assert statement["journal"][name]["balanced"]


def test_damage_is_counted_exactly(bench: Bench, capfd: Any, tmp_path: Path) -> None:
    first = bench.put(*[f"m{number}" for number in range(20)])
    bench.work()
    ledger = tmp_path / "ledger.ndjson"
    with sqlite3.connect(tmp_path / "a.db") as file:
        digests = dict(file.execute("SELECT id, digest FROM memories").fetchall())
    lines = [
        {"namespace": NAMESPACE, "id": f"m{n}", "version": first + n, "digest": digests[f"m{n}"]}
        for n in range(20)
    ]
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert verify(capfd, "--ledger", str(ledger))[0] == exits.OK
    with sqlite3.connect(tmp_path / "b.db") as file:
        file.execute("DELETE FROM memories WHERE id IN ('m3', 'm4')")
    status, statement = verify(capfd, "--ledger", str(ledger))
    assert status == exits.FAILED
    assert statement["divergence"]["peers"]["b"]["missing"] == 2
    assert statement["stores"]["b"]["account"]["lost"] == 2
    assert statement["stores"]["a"]["account"]["lost"] == 0


def test_a_ledger_that_is_not_there_is_one_line(bench: Bench, capfd: Any) -> None:
    bench.put("x")
    assert run(["verify", "--ledger", "nowhere.ndjson"]) == exits.FAILED
    assert "nowhere.ndjson" in capfd.readouterr().err
