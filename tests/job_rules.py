"""The rules of canceling: what is canceled is not stored, and what is stored was not canceled."""

from __future__ import annotations

from tests.rule import CANCEL, SCRIPTS, Rule

JOB_RULES = [
    Rule(
        "cancel: what a worker has claimed",
        SCRIPTS + "cancel.lua",
        "if state ~= 'w' or held then",
        "if state ~= 'w' then",
        CANCEL,
    ),
    Rule(
        "cancel: what one driver has to store still",
        SCRIPTS + "cancel.lua",
        "if state ~= 'w' or held then",
        "if held then",
        CANCEL,
    ),
    Rule(
        "cancel: what a replay brings",
        SCRIPTS + "cancel.lua",
        "if not it or it.ended or it.replays then",
        "if not it or it.ended then",
        CANCEL,
    ),
    Rule(
        "cancel: a delete, which reads obey already",
        SCRIPTS + "cancel.lua",
        "and not is_delete(it, position)",
        "",
        CANCEL,
    ),
    Rule(
        "cancel: all that shares an envelope",
        SCRIPTS + "cancel.lua",
        "math.max(first - eid, 0), math.min(last - eid, it.n - 1)",
        "0, it.n - 1",
        CANCEL,
    ),
    Rule(
        "cancel: it goes on waiting",
        SCRIPTS + "cancel.lua",
        "redis.call('LREM', list, -1, eid)",
        "",
        CANCEL,
    ),
    Rule(
        "cancel: what waits with many that are canceled is lost",
        SCRIPTS + "cancel.lua",
        "kept[#kept + 1] = eid",
        "local _ = eid",
        CANCEL,
    ),
    Rule(
        "cancel: what waits changes places",
        SCRIPTS + "cancel.lua",
        "table.remove(kept)",
        "table.remove(kept, 1)",
        CANCEL,
    ),
    Rule(
        "cancel: it is not accounted for",
        SCRIPTS + "cancel.lua",
        "account(place, 'c', it.n, 1)",
        "",
        CANCEL,
    ),
    Rule(
        "cancel: the write before it is forgotten",
        SCRIPTS + "cancel.lua",
        "redis.call('HSET', P .. 'last:' .. place, id, older)",
        "",
        CANCEL,
    ),
    Rule(
        "cancel: it was never written, says the mark",
        SCRIPTS + "cancel.lua",
        "redis.call('HPEXPIRE', P .. 'last:' .. place, KEEP_NOTED_MS, 'FIELDS', 1, id)",
        "redis.call('HDEL', P .. 'last:' .. place, id)",
        CANCEL,
    ),
    Rule(
        "cancel: who waits for the job is not told",
        SCRIPTS + "cancel.lua",
        "  wake(eid)",
        "",
        CANCEL,
    ),
    Rule(
        "cancel: a canceled write takes the place of an older one",
        "workers/batch.py",
        'NEVER_STORED = ("f", "c")',
        'NEVER_STORED = ("f",)',
        CANCEL,
    ),
    Rule(
        "cancel: a delete by filter brings it back",
        "workers/batch.py",
        "or item.superseded or item.canceled:",
        "or item.superseded:",
        CANCEL,
    ),
]
