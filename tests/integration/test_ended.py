"""What has ended is kept for its jobs, and no more of it than they tell; on a real journal."""

from __future__ import annotations

from dataclasses import replace

from backends.journal import Journal
from backends.journal.journal import PREFIX
from memrelay.batching import pack
from tests.integration.test_journal import applied, claim, enter, put, unit


async def test_ended_envelope_keeps_no_traces_of_its_requests(journal: Journal) -> None:
    drafts = pack([([put("a")], (), ())])
    drafts[0].traces.append(f"00-{'a' * 32}-{'b' * 16}-01")
    [first] = await enter(journal, replace(unit([]), drafts=drafts))
    claimed = await claim(journal)
    assert claimed.envelopes[0].traces == drafts[0].traces
    await journal.settle(claimed, [applied(first)])
    assert not await journal.client.hexists(f"{PREFIX}e:{first}", "tp")
