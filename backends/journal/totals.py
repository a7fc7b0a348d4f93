"""Totals: what ever happened in the whole installation, counted where it becomes true: in the scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal


async def totals(journal: Journal) -> dict[str, int]:
    """By name, whose parts are separated by ``|``:

    ``accepted|<queue>``, ``ended|<driver>|<letter>``, ``dead|<code>`` memories; ``retried|<driver>``,
    ``retried|embed`` envelopes; ``leases`` that ran out; ``searchable|<bound in ms, or inf>`` memories and
    ``searchable|sum`` in ms; and what workers count themselves and bring along when they settle.
    """
    with translated():
        found = await journal.client.hgetall(f"{PREFIX}totals")
    rows = cast(Mapping[bytes, bytes], found)
    return {name.decode(): int(value) for name, value in rows.items()}
