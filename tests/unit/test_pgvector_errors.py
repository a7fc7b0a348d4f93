"""psycopg's exceptions as ours: every class that it has is judged, and nothing of a memory is passed on."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from backends.pgvector.errors import (
    CLASSES,
    STATELESS,
    STATES,
    LayoutLost,
    Refused,
    translate,
    translated,
)
from memrelay.errors import Permanent, Transient, Unavailable


def _classes(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _classes(child)


def _all() -> set[type[Exception]]:
    return {kind for kind in _classes(psycopg.Error) if kind.__module__.startswith("psycopg")}


def _state(kind: type[Exception]) -> str | None:
    state: str | None = getattr(kind, "sqlstate", None)
    return state


def test_every_class_with_a_sqlstate_belongs_to_a_judged_class_of_states() -> None:
    states = {state for kind in _all() if (state := _state(kind)) is not None}
    assert len(states) > 200
    assert {state[:2] for state in states} == CLASSES.keys()
    assert STATES.keys() <= states


def test_every_class_without_a_sqlstate_is_judged_by_itself() -> None:
    bare = {kind for kind in _all() if _state(kind) is None}
    assert bare == {kind for kind in STATELESS if issubclass(kind, psycopg.Error)}


@pytest.mark.parametrize(
    ("state", "kind", "code"),
    [
        ("40001", Transient, "busy"),
        ("40P01", Transient, "busy"),
        ("55P03", Transient, "busy"),
        ("57014", Unavailable, "timeout"),
        ("57P01", Unavailable, "unreachable"),
        ("57P03", Unavailable, "unreachable"),
        ("08006", Unavailable, "unreachable"),
        ("28P01", Unavailable, "credentials"),
        ("53300", Unavailable, "too_many_connections"),
        ("53100", Transient, "resources"),
        ("25006", Unavailable, "read_only"),
        ("42P01", LayoutLost, "layout"),
        ("3D000", LayoutLost, "layout"),
        ("22P02", Refused, "refused"),
        ("54000", Refused, "refused"),
        ("42601", Permanent, "driver_bug"),
        ("XX001", Permanent, "corrupt"),
        ("ZZ999", Permanent, "driver_bug"),
    ],
)
def test_a_state_decides_what_happens_next(state: str, kind: type[Exception], code: str) -> None:
    foreign = type("Foreign", (psycopg.DatabaseError,), {"sqlstate": state})
    found = translate(foreign("it\nfailed"), "replica")
    assert type(found) is kind
    assert found.code == code
    assert str(found) == f"replica: {code}: it failed"


def test_what_is_raised_in_a_call_is_ours() -> None:
    for foreign in (errors.DeadlockDetected("x"), psycopg.InterfaceError("x"), OSError("x")):
        with pytest.raises(Transient, match=r"^replica: "), translated("replica"):
            raise foreign
