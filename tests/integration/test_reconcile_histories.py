"""Whatever part of a history each replica got, in whatever order: reconcile makes them one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.reconcile import Plan, Progress, reconcile
from memrelay.driver import Driver
from memrelay.testing.conformance.harness import fresh_scope, scanned
from memrelay.testing.samples import upsert
from memrelay.types import Delete, Op, Scope
from tests.replicas import assert_one, peers_of, put, sqlite_replicas

IDS = ("a", "b", "c", "d", "é")
KINDS = ("upsert", "upsert", "delete", "expire")

type History = list[tuple[Op, frozenset[int]]]
"""Ops, each with the replicas that got it."""


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, History]:
    """How many replicas, and a history in the order in which they got it."""
    replicas = draw(st.integers(2, 3))
    steps = draw(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(KINDS)), max_size=14))
    history: History = []
    newest: dict[str, int] = {}
    for version, (id, kind) in enumerate(steps, 1):
        if kind == "expire":
            op: Op = Delete(id, newest.get(id, version))
        else:
            op = Delete(id, version) if kind == "delete" else upsert(id, version=version)
            newest[id] = version
        history.append((op, draw(st.frozensets(st.integers(0, replicas - 1)))))
    return replicas, draw(st.permutations(history))


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("histories")


async def with_kills(scope: Scope, drivers: Sequence[Driver], kills: list[int], page: int) -> None:
    """One pass after another from where the last was killed, until one gets through."""
    since, left = 0, list(kills)
    while True:
        pages = 0

        async def saved(progress: Progress) -> None:
            nonlocal since, pages
            since, pages = progress.resume or 0, pages + 1
            if left and pages >= left[0]:
                left.pop(0)
                raise Killed

        try:
            await reconcile(scope, peers_of(*drivers), Plan(since=since, page=page, saved=saved))
        except Killed:
            continue
        return


@settings(max_examples=60, deadline=None)
@given(case=histories(), kills=st.lists(st.integers(1, 3), max_size=3), page=st.integers(1, 4))
def test_replicas_that_got_parts_of_a_history_become_one(
    folder: Path, case: tuple[int, History], kills: list[int], page: int
) -> None:
    async def run() -> None:
        replicas, history = case
        scope = fresh_scope()
        async with sqlite_replicas(
            scope, *(folder / f"{n}.db" for n in range(replicas))
        ) as drivers:
            for op, receivers in history:
                for number in receivers:
                    await put(drivers[number], scope, op)
            held = {entry for driver in drivers for entry in await scanned(driver, scope)}
            look = await reconcile(scope, peers_of(*drivers), Plan(repair=False, page=page))
            assert look.divergence.compared == len({(e.version, e.id) for e in held})
            await with_kills(scope, drivers, kills, page)
            await assert_one(scope, drivers, [op for op, receivers in history if receivers])
            again = await reconcile(scope, peers_of(*drivers), Plan(deep=True))
            assert again.divergence.sound

    asyncio.run(run())
