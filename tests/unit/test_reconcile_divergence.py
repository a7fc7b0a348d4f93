from __future__ import annotations

from backends.reconcile import Divergence, Drift


def test_slices_add_up_peer_by_peer() -> None:
    first = Divergence(3, {"redis": Drift(missing=2, repaired=2, examples={"missing": ("a", "b")})})
    second = Divergence(
        4,
        {
            "redis": Drift(missing=1, stale=1, unrepaired=2, examples={"missing": ("c",)}),
            "sqlite": Drift(damaged=1),
        },
    )
    assert first + second == Divergence(
        7,
        {
            "redis": Drift(
                missing=3,
                stale=1,
                repaired=2,
                unrepaired=2,
                examples={"missing": ("a", "b", "c")},
            ),
            "sqlite": Drift(damaged=1),
        },
    )


def test_ten_examples_of_each_kind_are_kept() -> None:
    ids = tuple(f"m{number}" for number in range(25))
    drift = Drift().noted("stale", ids[:8]).noted("stale", ids[8:]).noted("covered", ids)
    assert (drift.stale, drift.covered, drift.total) == (25, 25, 50)
    assert drift.examples == {"stale": ids[:10], "covered": ids[:10]}


def test_sound_means_no_difference_and_settled_that_none_is_left() -> None:
    assert Divergence(5, {"redis": Drift()}).sound
    mended = Divergence(5, {"redis": Drift(different=1, repaired=1)})
    assert (mended.sound, mended.settled) == (False, True)
    assert not Divergence(5, {"redis": Drift(damaged=1, unrepaired=1)}).settled
