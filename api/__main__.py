"""``python -m api``: serve. What is wrong is said in one line, with a non-zero exit."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn
import uvloop

from api.app import create, open_state
from api.connection import Connection
from api.feeds import Feeds
from backends.journal import Journal
from backends.journal.apikeys import locked
from backends.logs import configure
from backends.process import run_process
from memrelay.errors import ConfigError
from memrelay.settings import Settings, load_settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
BACKLOG = 2048
GC_THRESHOLD = 20_000


def bind(settings: Settings) -> socket.socket:
    """The listening socket; ``ConfigError`` if the port is taken or the address is not ours."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "set MEMRELAY_PORT or MEMRELAY_HOST to another"
        ) from None
    listening.listen(BACKLOG)
    return listening


async def check_exposure(settings: Settings) -> None:
    """Without API keys only loopback may be served, unless the operator says that it is fenced in."""
    fenced = settings.host in LOOPBACK or os.environ.get("MEMRELAY_INSECURE_OPEN") == "1"
    if fenced or settings.admin_key is not None:
        return
    journal = Journal(settings.journal_url)
    try:
        keyed = await locked(journal)
    finally:
        await journal.close()
    if not keyed:
        raise ConfigError(
            f"host {settings.host} would serve everybody, and there is no API key: make one "
            "(memrelay keys create --scope admin), keep 127.0.0.1, or set MEMRELAY_INSECURE_OPEN=1 "
            "where only trusted peers reach it"
        )


def greeting(settings: Settings, *, keyed: bool) -> str:
    """What is said at the start: where we listen, and to whom."""
    if keyed:
        to_whom = "API keys are asked for"
    elif settings.host in LOOPBACK:
        to_whom = "no API key: loopback only"
    else:
        to_whom = "no API key: OPEN TO EVERYBODY who reaches it, as MEMRELAY_INSECURE_OPEN says"
    return f"accepting on http://{settings.host}:{settings.port} ({to_whom})"


class Server(uvicorn.Server):
    """Ends what would never end by itself, before it waits for what is under way."""

    def __init__(self, config: uvicorn.Config, feeds: Feeds) -> None:
        super().__init__(config)
        self._feeds = feeds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Once: in order, and what is open is closed, with exit status 0; uvicorn would die of the signal
        then. SIGINT again: at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feeds.close()
        await super().shutdown(sockets)


async def serve(settings: Settings) -> None:
    configure("api", settings.log_format)
    await check_exposure(settings)
    listening = bind(settings)
    async with open_state(settings) as state:
        config = uvicorn.Config(
            create(state),
            http=Connection,
            lifespan="off",
            access_log=False,
            log_config=None,  # ours
            log_level="warning",
            server_header=False,
            proxy_headers=False,
        )
        logging.getLogger("memrelay.api").info(greeting(settings, keyed=state.keyring.locked))
        gc.collect()
        gc.freeze()  # what is loaded now stays: only requests are worth looking through
        gc.set_threshold(GC_THRESHOLD)
        await Server(config, state.feeds).serve(sockets=[listening])


def main() -> int:
    return run_process("api", lambda: uvloop.run(serve(load_settings())))


if __name__ == "__main__":
    sys.exit(main())
