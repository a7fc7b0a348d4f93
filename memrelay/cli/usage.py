"""``usage``: what the namespace of the API key has waiting, has lost, and has used."""

from __future__ import annotations

import typer

from memrelay import exits
from memrelay.cli.options import DEFAULT_URL, AsJson, Url, client
from memrelay.cli.output import plain, show_json


def usage(as_json: AsJson = False, url: Url = DEFAULT_URL) -> int:
    """What the namespace has waiting and given up, and what was accepted and embedded of it ever."""
    with client(url) as service:
        answer = service.usage()
    if as_json:
        show_json(answer)
        return exits.OK
    total, waiting = answer.total, answer.waiting
    for line in (
        f"namespace {answer.namespace}",
        f"accepted  {total.memories} memories, {total.bytes} bytes",
        f"embedded  {total.embedding_tokens} tokens, estimated",
        f"waiting   {waiting.memories} memories, {waiting.bytes} bytes",
        f"given up  {answer.dead_letters} memories (memrelay dlq ls)",
    ):
        typer.echo(plain(line))
    return exits.OK
