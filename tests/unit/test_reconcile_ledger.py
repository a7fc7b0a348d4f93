from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest

from backends.reconcile.ledger import Account, Audit, Ledger, read_ledger
from memrelay.errors import InvalidInput
from memrelay.types import Entry


def line(id: str, version: int, digest: str | None, **more: Any) -> str:
    return json.dumps({"id": id, "version": version, "digest": digest, **more}) + "\n"


def ledger_of(*lines: str) -> Ledger:
    return read_ledger(lines, "default")


def account_of(ledger: Ledger, *held: Entry, dead: Collection[int] = ()) -> Account:
    audit = Audit(ledger, dead)
    audit.take(held)
    return audit.account()


def test_a_store_that_holds_all_that_was_promised_is_sound() -> None:
    ledger = ledger_of(
        line("a", 1, "a1"), line("a", 2, "a2"), line("b", 3, "b3"), line("b", 4, None)
    )
    account = account_of(ledger, Entry("a", 2, "a2"), Entry("b", 4, None))
    assert account.sound
    assert account == Account(
        accepted=4, visible=1, superseded=2, deleted=1, examples=account.examples
    )


def test_each_fault_is_counted_once_with_its_id() -> None:
    ledger = ledger_of(
        line("lost", 1, "x"),
        line("emptied", 2, "x"),
        line("old", 3, "x"),
        line("old", 4, "y"),
        line("risen", 5, "x"),
        line("risen", 6, None),
        line("other", 7, "x"),
        line("newer", 8, "x"),
    )
    account = account_of(
        ledger,
        Entry("emptied", 2, None),
        Entry("old", 3, "x"),
        Entry("risen", 5, "x"),
        Entry("other", 7, "z"),
        Entry("newer", 9, "z"),
        Entry("who", 10, "w"),
        Entry("twice", 11, "t"),
        Entry("twice", 12, "t"),
    )
    assert not account.sound
    assert account.examples == {
        "lost": ("lost", "emptied"),
        "stale": ("old",),
        "resurrected": ("risen",),
        "altered": ("other", "newer"),
        "duplicates": ("twice",),
        "strangers": ("who", "twice", "twice"),
    }
    assert (account.accepted, account.superseded) == (8, 2)
    assert account.lost + account.stale + account.resurrected + account.altered == 6


def test_a_dead_letter_is_neither_lost_nor_in_the_way_of_the_write_before_it() -> None:
    ledger = ledger_of(line("a", 1, "a1"), line("a", 2, "a2"), line("b", 3, "b3"))
    account = account_of(ledger, Entry("a", 1, "a1"), dead={2, 3})
    assert account.sound
    assert (account.visible, account.superseded, account.dead) == (1, 0, 2)


def test_a_delete_of_a_selection_deletes_what_is_older_than_it() -> None:
    ledger = ledger_of(
        line("a", 1, "a1", fields=[["user_id", "ann"]]),
        line("", 5, None, operation="drop_where", fields=[["user_id", "ann"]]),
        line("b", 9, "b9", fields=[["user_id", "ann"]]),
        line("c", 2, "c2", fields=[["user_id", "bob"]]),
    )
    there = (Entry("b", 9, "b9"), Entry("c", 2, "c2"))
    assert account_of(ledger, *there).sound
    assert account_of(ledger, *there, Entry("a", 1, "a1")).resurrected == 1


def test_lines_of_others_replays_repeats_and_a_torn_end_promise_nothing_new() -> None:
    ledger = ledger_of(
        line("a", 1, "a1"),
        line("a", 1, "a1"),
        line("b", 2, "b2", namespace="another"),
        line("c", 3, None, operation="replay"),
        '{"id": "d", "vers',
    )
    assert account_of(ledger, Entry("a", 1, "a1")).accepted == 1


@pytest.mark.parametrize("bad", ["no json\n", "[]\n", "{}\n", '{"id": "a", "version": 1}\n'])
def test_a_bad_line_is_named(bad: str) -> None:
    with pytest.raises(InvalidInput, match="line 2 of the ledger"):
        ledger_of(line("a", 1, "a1"), bad)
