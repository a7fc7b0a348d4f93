"""``python -m backends.proof [LEDGER]``: prove that what was accepted is what the stores hold.

Reads the journal and every store, and writes nothing. One line of JSON for each namespace and source; the
exit status is 0 when all are sound, 3 when something is still in flight, 1 otherwise.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from backends.journal import Journal
from backends.journal.accounts import Account, accounts
from backends.journal.cancel import canceled
from backends.journal.dead import Selection, dead_letters
from backends.journal.sync import lowest_open, places
from backends.journal.tombstones import forgotten
from backends.process import run_process
from backends.reconcile import Plan, peer_of
from backends.reconcile.ledger import read_ledger
from backends.reconcile.verify import Proof, verify
from backends.sources import Source, open_sources
from memrelay import exits
from memrelay.errors import ConfigError
from memrelay.settings import load_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Of one source of one namespace. ``dead_letters`` by driver."""

    namespace: str
    source: str
    accounts: Mapping[str, Account]
    dead_letters: Mapping[str, int]
    proof: Proof

    @property
    def in_flight(self) -> int:
        return max(account.in_flight for account in self.accounts.values())

    @property
    def sound(self) -> bool:
        """Every account balances with nothing left to do, and the stores hold the same, undamaged."""
        settled = all(
            account.balanced and not account.in_flight and not account.needs_sync
            for account in self.accounts.values()
        )
        return settled and self.proof.sound

    def to_json(self) -> dict[str, Any]:
        divergence = msgspec.to_builtins(self.proof.divergence)
        return {
            "namespace": self.namespace,
            "source": self.source,
            "sound": self.sound,
            "in_flight": self.in_flight,
            "journal": {
                name: {**asdict(account), "balanced": account.balanced}
                for name, account in self.accounts.items()
            },
            "dead_letters": self.dead_letters,
            "stores": msgspec.to_builtins(self.proof.census),
            "divergence": divergence,
            "unreachable": self.proof.unreachable,
        }


async def statements(ledger: Sequence[str] | None) -> AsyncIterator[Statement]:
    """One for everything that anything was ever accepted for."""
    settings = load_settings()
    journal = Journal(settings.journal_url)
    try:
        sources = await open_sources(settings)
        await sources.look(journal)
        try:
            for namespace, name in await places(journal):
                if name in sources.by_name:
                    yield await _statement(journal, namespace, sources.by_name[name], ledger)
        finally:
            await sources.close()
    finally:
        await journal.close()


async def _statement(
    journal: Journal, namespace: str, source: Source, ledger: Sequence[str] | None
) -> Statement:
    drivers = [store.name for store in source.serving]
    dead: defaultdict[str, set[int]] = defaultdict(set)
    async for letter in dead_letters(journal, namespace, Selection(source=source.name)):
        for driver in letter.drivers:
            dead[driver].add(letter.version)
    proof = await verify(
        source.scope(namespace),
        [peer_of(store) for store in source.serving],
        plan=Plan(
            deep=True,
            repair=False,
            until=await lowest_open(journal),
            forgotten=await forgotten(journal),
        ),
        ledger=None if ledger is None else read_ledger(ledger, namespace),
        dead=dead,
        canceled=await canceled(journal, namespace, source.name),
    )
    return Statement(
        namespace=namespace,
        source=source.name,
        accounts=await accounts(journal, namespace, source.name, drivers),
        dead_letters={name: len(dead[name]) for name in drivers},
        proof=proof,
    )


async def prove(ledger: Sequence[str] | None) -> int:
    """The exit status, when each line is out."""
    status = exits.OK
    async for statement in statements(ledger):
        sys.stdout.write(msgspec.json.encode(statement.to_json()).decode() + "\n")
        sys.stdout.flush()
        if not statement.sound:
            unfinished = status != exits.FAILED and statement.in_flight > 0
            status = exits.PARTIAL if unfinished else exits.FAILED
    return status


def main() -> int:
    statuses: list[int] = []

    def work() -> None:
        ledger = _lines(Path(sys.argv[1])) if len(sys.argv) > 1 else None
        statuses.append(asyncio.run(prove(ledger)))

    status = run_process("verify", work)
    return status or statuses[0]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the ledger {path}: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
