"""Timings: when workers took envelopes up, and when each driver worked on them. Microseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memrelay.jobs import Course, store_queue

Fields = Mapping[str, str]
"""Of an envelope's hash, see ``scripts/common.lua``."""


def started_at(envelopes: Sequence[Fields]) -> int | None:
    """When the first of them was claimed; None if none was."""
    claims = [1000 * int(fields["cl"]) for fields in envelopes if "cl" in fields]
    return min(claims, default=None)


def courses(envelopes: Sequence[Fields], drivers: Sequence[str]) -> dict[str, Course]:
    """By driver, over all of them."""
    return {driver: _course(envelopes, driver) for driver in drivers}


def _course(envelopes: Sequence[Fields], driver: str) -> Course:
    spans = [span for fields in envelopes if (span := _span(fields, driver)) is not None]
    tries = f"a:{store_queue(driver)}"
    return Course(
        began_at=min((began for began, _ in spans), default=None),
        last_at=max((ended for _, ended in spans), default=None),
        retries=sum(int(fields.get(tries, 0)) for fields in envelopes),
    )


def _span(fields: Fields, driver: str) -> tuple[int, int] | None:
    """Not before the claim: that is of the journal's clock, this was measured back from it in whole ms."""
    began, _, ended = fields.get(f"t:{driver}", "").partition(",")
    if not ended:
        return None
    earliest = int(fields.get("cl", 0))
    return 1000 * max(int(began), earliest), 1000 * max(int(ended), earliest)
