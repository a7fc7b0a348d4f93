"""``python -m tests.rules [WORD...]``: take each rule of the journal out, in a copy, and see a test fail.

Not a part of the suite: it runs the tests once for each rule (ten minutes). Exit status 1 if one survives.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.job_rules import JOB_RULES
from tests.rule import (
    DELETES,
    DELIVER,
    DETACH,
    HIDDEN,
    JOURNAL,
    LANES,
    PRESSURE,
    SCRIPTS,
    STARTS,
    SWEEP,
    Rule,
)
from tests.store_rules import STORE_RULES

ROOT = Path(__file__).parent.parent


RULES = [
    # No import delays a single write.
    Rule(
        "lanes: a single write that waited paces nothing",
        SCRIPTS + "claim.lua",
        "redis.call('SET', P .. 'hurry', HURRY, 'PX', HURRY_MS)",
        "",
        LANES,
    ),
    Rule(
        "lanes: bulk work is paced for ever",
        SCRIPTS + "claim.lua",
        "redis.call('DECR', P .. 'hurry') == 0",
        "false",
        LANES,
    ),
    # What is written under a condition is entered only if nobody wrote it since it was looked at.
    Rule(
        "noted: a write that expects another version is entered",
        SCRIPTS + "append.lua",
        "known_answer(unit) or changed(unit) or",
        "known_answer(unit) or",
        JOURNAL,
    ),
    Rule(
        "noted: a write's version is forgotten while a newer one waits",
        SCRIPTS + "common.lua",
        "if last == int(first + at - 1) then",
        "if true then",
        JOURNAL,
    ),
    # Nothing leaves due but by ending.
    Rule(
        "due: a claim takes the entry out",
        SCRIPTS + "claim.lua",
        "redis.call('ZADD', P .. 'due', due_ms, eid .. '/' .. q)",
        "redis.call('ZREM', P .. 'due', eid .. '/' .. q)",
        JOURNAL,
    ),
    Rule(
        "due: what is set down is not entered",
        SCRIPTS + "settle.lua",
        "redis.call('ZADD', P .. 'due', int(now_ms + later_ms), eid .. '/' .. stage)",
        "",
        JOURNAL,
    ),
    Rule(
        "due: ending leaves the entry",
        SCRIPTS + "common.lua",
        "redis.call('ZREM', P .. 'due', eid .. '/' .. stage)",
        "",
        JOURNAL,
    ),
    # No storm.
    Rule(
        "storm: every sweeper sweeps",
        SCRIPTS + "sweep.lua",
        "if not redis.call('SET', P .. 'sweeping', token, 'NX', 'PX', gate_ms) then",
        "if false then",
        JOURNAL,
    ),
    Rule(
        "storm: taking does not score anew",
        SCRIPTS + "sweep.lua",
        "redis.call('ZADD', P .. 'due', int(now_ms + check_ms), member)",
        "",
        JOURNAL,
    ),
    Rule(
        "storm: published although the queue is not empty",
        "workers/sweep.py",
        "waiting > 0 and publisher.waiting(queue) == 0",
        "waiting > 0",
        SWEEP,
    ),
    Rule("storm: no bound", "workers/sweep.py", "min(waiting, MESSAGES)", "waiting", SWEEP),
    # Versions never go back.
    Rule(
        "versions: only the clock",
        SCRIPTS + "append.lua",
        "math.max(tonumber(redis.call('GET', P .. 'ver') or '0') + 1, now)",
        "now",
        JOURNAL,
    ),
    Rule(
        "versions: only a counter",
        SCRIPTS + "append.lua",
        "math.max(tonumber(redis.call('GET', P .. 'ver') or '0') + 1, now)",
        "(tonumber(redis.call('GET', P .. 'ver') or '0') + 1)",
        JOURNAL,
    ),
    # Leases.
    Rule(
        "leases: no fence",
        SCRIPTS + "settle.lua",
        "if redis.call('HGET', e, 'k:' .. q) ~= arg.token then",
        "if false then",
        JOURNAL,
    ),
    Rule(
        "leases: not renewed",
        SCRIPTS + "renew.lua",
        "redis.call('ZADD', P .. 'due', 'XX', due_ms, eid .. '/' .. q)",
        "",
        JOURNAL,
    ),
    Rule(
        "leases: what ran out spreads",
        SCRIPTS + "sweep.lua",
        "redis.call('HSET', e, 'c:' .. q, math.ceil(held / 4))",
        "",
        JOURNAL,
    ),
    Rule(
        "leases: one envelope is not bisected",
        SCRIPTS + "sweep.lua",
        "math.max(1, math.floor(tonumber(most or n) / 2))",
        "tonumber(n)",
        DELIVER,
    ),
    Rule(
        "leases: kills are not counted",
        SCRIPTS + "sweep.lua",
        "redis.call('HINCRBY', e, 'z:' .. q, 1)",
        "",
        DELIVER,
    ),
    Rule(
        "leases: a part that went well does not grow",
        SCRIPTS + "settle.lua",
        "  if 2 * most < it.n then",
        "  if false then",
        DELIVER,
    ),
    Rule(
        "leases: the frozen worker goes on",
        "workers/leases.py",
        "asyncio.timeout_at(taken + self._seconds)",
        "asyncio.timeout_at(None)",
        DELIVER,
    ),
    # Deletes by user or filter are scoped tombstones.
    Rule(
        "scoped: a claim is not told",
        SCRIPTS + "claim.lua",
        "return { ns, source, drivers, away, retired, epoch(source), scoped,",
        "return { ns, source, drivers, away, retired, epoch(source), {},",
        DELETES,
    ),
    Rule(
        "scoped: a settle does not look",
        SCRIPTS + "settle.lua",
        "if unseen(it, eid) then",
        "if false then",
        DELETES,
    ),
    Rule(
        "scoped: newer memories are covered",
        "workers/batch.py",
        "if v > memory.version and matches",
        "if matches",
        DELETES,
    ),
    Rule(
        "scoped: collected while an older envelope is in flight",
        "backends/journal/tombstones.py",
        'pipe.zrange(f"{PREFIX}open", 0, 0)',
        'pipe.zrange(f"{PREFIX}nothing", 0, 0)',
        DELETES,
    ),
    # Reads subtract what a driver has not deleted yet.
    Rule(
        "lag: a delete is not noted",
        SCRIPTS + "append.lua",
        "redis.call('HSET', P .. 'lag:' .. place, envelope.drops[at + 1],",
        "local _ = (envelope.drops[at + 1],",
        DELETES,
    ),
    Rule(
        "lag: nothing lingers",
        SCRIPTS + "settle.lua",
        "redis.call('HSET', bucket, cleared[at], held)",
        "",
        DELETES,
    ),
    Rule(
        "lag: a change of owner is not noted",
        SCRIPTS + "settle.lua",
        "if not held or tonumber(string.match(held, '^%d+')) < version then",
        "if false then",
        DELETES,
    ),
    Rule(
        "lag: deletes by filter are not told",
        SCRIPTS + "hidden.lua",
        "scoped[#scoped + 1] = found[1]",
        "",
        DELETES,
    ),
    Rule(
        "lag: an incomplete driver serves",
        SCRIPTS + "hidden.lua",
        "standing(src, driver),",
        "'',",
        DETACH,
    ),
    # Tombstones are collected only when nothing is older; expiry is a tombstone.
    Rule(
        "tombstones: collected while a driver is detached",
        "backends/journal/tombstones.py",
        "    if detached or",
        "    if",
        DELETES,
    ),
    Rule(
        "tombstones: collected at once",
        "workers/collect.py",
        "await clock(room.journal) - keep_us",
        "await clock(room.journal)",
        DELETES,
    ),
    Rule(
        "tombstones: dead letters do not count",
        "backends/journal/tombstones.py",
        'pipe.zrange(f"{PREFIX}dls:{namespace}", 0, 0)',
        'pipe.zrange(f"{PREFIX}nothing", 0, 0)',
        DELETES,
    ),
    Rule(
        "expiry: no tombstone",
        "workers/expire.py",
        "await peer.write(scope, gone)",
        "pass",
        DELETES,
    ),
    # Detach and reconcile.
    Rule(
        "detach: no bound",
        SCRIPTS + "settle.lua",
        "redis.call('HSETNX', P .. 'detached', driver, 'away')",
        "",
        DETACH,
    ),
    Rule(
        "detach: the last one is skipped",
        SCRIPTS + "settle.lua",
        "or not held_elsewhere(e, it, result.driver, state) then",
        "then",
        DETACH,
    ),
    Rule(
        "detach: skipped although it is back",
        SCRIPTS + "settle.lua",
        "if (state ~= 'away' and state ~= 'retired') or not",
        "if not",
        DETACH,
    ),
    Rule(
        "detach: jobs are not told",
        SCRIPTS + "synced.lua",
        "redis.call('HSET', e, 'o:' .. driver, (string.gsub(outcomes, 'n', 'a')))",
        "",
        DETACH,
    ),
    # Jobs.
    Rule(
        "jobs: slices are forgotten",
        "memrelay/batching.py",
        "drafts[-1].slices.append((len(drafts[-1].writes), len(writes)))",
        "pass",
        JOURNAL,
    ),
    Rule(
        "jobs: kept for ever", SCRIPTS + "common.lua", "redis.call('PEXPIRE', e, keep)", "", JOURNAL
    ),
    Rule(
        "jobs: no bound",
        SCRIPTS + "sweep.lua",
        "redis.call('ZCARD', P .. 'gone') - kept",
        "0",
        JOURNAL,
    ),
    # Durability is checked at the start.
    Rule(
        "durability: not checked",
        "backends/journal/journal.py",
        "    for name, value in wanted.items():\n",
        "    for name, value in ():\n",
        STARTS,
    ),
    # Turns, failures, backpressure.
    Rule(
        "turns: the same namespace goes on",
        SCRIPTS + "claim.lua",
        "  redis.call('RPUSH', P .. 'w:' .. q, ns)",
        "  redis.call('LPUSH', P .. 'w:' .. q, ns)",
        JOURNAL,
    ),
    Rule(
        "failures: an open breaker costs an attempt",
        SCRIPTS + "settle.lua",
        "redis.call('HINCRBY', e, 'a:' .. stage, -1)",
        "",
        JOURNAL,
    ),
    Rule(
        "failures: no dead letter", SCRIPTS + "settle.lua", "    bury(it, dead)", "    -- ", DELIVER
    ),
    Rule(
        "failures: a replay gets a version of its own",
        "backends/journal/values.py",
        "return self.versions[position] if self.versions else self.eid + position",
        "return self.eid + position",
        DELIVER,
    ),
    Rule(
        "failures: the job is not told of a replay",
        SCRIPTS + "settle.lua",
        "      tell_origin(it, driver, position, letter)",
        "",
        DELIVER,
    ),
    Rule(
        "failures: tries count while nothing is taken",
        SCRIPTS + "settle.lua",
        "if redis.call('HGET', e, 'pk:' .. result.driver) ~= taken then",
        "if true then",
        DELIVER,
    ),
    Rule(
        "failures: no alarm",
        "workers/alarm.py",
        "held.add(line.stage)",
        "pass",
        DELIVER,
    ),
    Rule(
        "recheck: what a store took before it failed is believed",
        "workers/deliver.py",
        "await doubt(room.journal, driver)",
        "pass",
        DETACH,
    ),
    Rule(
        "sync: serves before it has ended what came meanwhile",
        "workers/sync.py",
        "if turn.returning and await _has_more_to_end(room, turn, it):",
        "if False:",
        DETACH,
    ),
    Rule(
        "sync: merged with those who may lack it",
        "workers/sync.py",
        "if turn.returning and (reason := await _held_up(room, place.source, it, turn)):",
        "if reason := '':",
        DETACH,
    ),
    Rule(
        "broker: a message that cannot be acknowledged stays in the window",
        "backends/transport.py",
        "    QoS = QoS\n",
        "",
        "tests/integration/test_broker.py",
    ),
    Rule(
        "sync: what it was given since it was attached is taken for a stranger's",
        "workers/sync.py",
        'if name != driver and state.state == "away" and not',
        "if name != driver and not",
        "tests/integration/test_members.py",
    ),
    Rule(
        "sync: on its way back it is never detached again",
        SCRIPTS + "settle.lua",
        "redis.call('HSET', P .. 'detached', driver, 'away')",
        "",
        DETACH,
    ),
    Rule(
        "reads: other APIs are not told of deletes",
        SCRIPTS + "append.lua",
        "redis.call('PUBLISH', P .. 'deletes', ns .. '|' .. envelope.src)",
        "",
        HIDDEN,
    ),
    Rule(
        "backpressure: no bound of the service",
        SCRIPTS + "append.lua",
        "or used('memories') + n > limits.memories then",
        "then",
        PRESSURE,
    ),
    Rule(
        "backpressure: no bound of a namespace",
        SCRIPTS + "append.lua",
        "if used('bytes|' .. ns) + bytes > limits.ns_bytes or",
        "if",
        PRESSURE,
    ),
    Rule(
        "backpressure: no quota",
        SCRIPTS + "append.lua",
        "if limits.rate == 0 then",
        "if true then",
        PRESSURE,
    ),
    Rule(
        "backpressure: what has ended makes no room",
        SCRIPTS + "common.lua",
        "use(it.ns, -it.n, -(tonumber(size) + tonumber(kept or 0)))",
        "",
        PRESSURE,
    ),
    Rule(
        "idempotency: another body is taken for the same",
        SCRIPTS + "append.lua",
        "return known[1] == unit.hash and",
        "return true and",
        JOURNAL,
    ),
]


def survives(rule: Rule, copy: Path) -> str:
    """Empty if a test failed without the rule; else what was seen instead."""
    file = copy / rule.file
    whole = file.read_text()
    if rule.text not in whole:
        return "its text is not there any more"
    file.write_text(whole.replace(rule.text, rule.instead))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", rule.tests],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    except subprocess.TimeoutExpired:
        return ""  # a test that waits for what never comes has failed
    finally:
        file.write_text(whole)
    return "" if done.returncode == 1 else f"pytest ended with {done.returncode}"


def main() -> int:
    words = sys.argv[1:]
    chosen = [
        rule
        for rule in RULES + JOB_RULES + STORE_RULES
        if not words or any(word in rule.name for word in words)
    ]
    survivors = 0
    with tempfile.TemporaryDirectory() as scratch:
        files = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        present = "\n".join(name for name in files.splitlines() if (ROOT / name).is_file())
        subprocess.run(
            f"tar c -T - | tar x -C {scratch}",
            shell=True,
            cwd=ROOT,
            input=present,
            text=True,
            check=True,
        )
        for rule in chosen:
            seen = survives(rule, Path(scratch))
            survivors += bool(seen)
            sys.stdout.write(f"{'SURVIVED' if seen else 'fails   '} {rule.name} {seen}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} rules taken out, {survivors} not noticed\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
