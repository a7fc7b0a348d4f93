"""The examples at the end of each command's ``--help``."""

from __future__ import annotations

import typer

EXAMPLES: dict[str, tuple[str, ...]] = {
    "up": ("memrelay up", 'memrelay up --data /srv/memrelay --ask "what does Ana eat?"'),
    "api": ("memrelay api", "MEMRELAY_PORT=8701 memrelay api"),
    "worker": ("memrelay worker", "memrelay worker --lane bulk --concurrency 4"),
    "doctor": (
        "memrelay doctor",
        "memrelay doctor --json | jq '.checks[] | select(.mend != \"\")'",
    ),
    "verify": ("memrelay verify", "memrelay verify --ledger promised.ndjson"),
    "add": (
        'memrelay add "Ana prefers window seats." --user ana --tag travel',
        "memrelay add - --id note-7 --wait < note.txt",
    ),
    "import": (
        "memrelay import memories.ndjson",
        "memrelay import memories.ndjson.gz --source archive",
        "memrelay import memories.ndjson --resume",
        "zcat *.gz | memrelay import - --key nightly-2026-11-27",
    ),
    "export": ("memrelay export all.ndjson", "memrelay export all.ndjson --source archive"),
    "search": (
        'memrelay search "where does Ana like to sit?" --user ana',
        'memrelay search "peanuts" --mode keyword --filter \'{"tags": "food"}\' --json',
        'memrelay search "where does Ana live?" --user ana --recency 30',
    ),
    "get": ("memrelay get note-7", "memrelay get note-7 --json"),
    "edit": (
        "memrelay edit note-7 --tag travel --tag seats",
        "memrelay edit note-7 --metadata '{\"score\": 0.9}' --unset session --if-version 1795245444809580",
    ),
    "rm": ("memrelay rm note-7 note-8", "memrelay rm --user ana --wait"),
    "count": ("memrelay count", "memrelay count --user ana"),
    "bench": ("memrelay bench", "memrelay bench --memories 20000 --json"),
    "drivers": ("memrelay drivers",),
    "sync": ("memrelay sync weaviate", "memrelay sync weaviate --quick --no-wait"),
    "join": ("memrelay join pgvector --source default",),
    "retire": ("memrelay retire weaviate --source default",),
    "migrate": ("memrelay migrate --from redis --to weaviate --retire",),
    "reembed": (
        "memrelay reembed --model openai/text-embedding-3-small",
        "memrelay reembed --cancel",
    ),
    "keys create": (
        "memrelay keys create --scope admin",
        "memrelay keys create --scope read --scope write --namespace shop --days 90",
    ),
    "keys ls": ("memrelay keys ls --namespace shop",),
    "keys revoke": ("memrelay keys revoke 5f2c9a",),
    "usage": ("memrelay usage --json",),
    "jobs ls": ("memrelay jobs ls --status failed",),
    "jobs show": ("memrelay jobs show job_660c42705c36c_1",),
    "jobs wait": ("memrelay jobs wait job_660c42705c36c_1 --timeout 300",),
    "jobs cancel": (
        "memrelay jobs cancel job_660c42705c36c_1",
        "memrelay jobs cancel --source archive --status accepted",
    ),
    "dlq ls": ("memrelay dlq ls --driver weaviate",),
    "dlq replay": ("memrelay dlq replay --code dimension", "memrelay dlq replay --all"),
    "dlq rm": ("memrelay dlq rm --id note-7",),
    "dlq resume": ("memrelay dlq resume",),
}


def show_examples(app: typer.Typer) -> None:
    """Put them below the help of every command that there is by now."""
    for path, command in registered(app):
        if path in EXAMPLES:
            command.epilog = "\n".join(("\b", "Examples:", *(f"  {x}" for x in EXAMPLES[path])))


def registered(app: typer.Typer, group: str = "") -> list[tuple[str, typer.models.CommandInfo]]:
    """Every command under the words that call it, as ``jobs ls``."""
    found = []
    for command in app.registered_commands:
        assert command.callback is not None
        found.append((f"{group}{command.name or command.callback.__name__}", command))
    for inner in app.registered_groups:
        if inner.typer_instance is not None:
            found += registered(inner.typer_instance, f"{group}{inner.name} ")
    return found
