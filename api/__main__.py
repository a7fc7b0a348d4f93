"""``python -m api``: serve. What is wrong is said in one line, with a non-zero exit."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys

import uvicorn
import uvloop

from api.app import create, open_state
from api.feeds import Feeds
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


def check_exposure(settings: Settings) -> None:
    """Without API keys only loopback may be served, unless the operator says that it is fenced in."""
    if settings.host not in LOOPBACK and os.environ.get("MEMRELAY_INSECURE_OPEN") != "1":
        raise ConfigError(
            f"host {settings.host} would serve everybody, and no API key is configured: keep "
            "127.0.0.1, or set MEMRELAY_INSECURE_OPEN=1 where only trusted peers reach it"
        )


class Server(uvicorn.Server):
    """Ends what would never end by itself, before it waits for what is under way."""

    def __init__(self, config: uvicorn.Config, feeds: Feeds) -> None:
        super().__init__(config)
        self._feeds = feeds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feeds.close()
        await super().shutdown(sockets)


async def serve(settings: Settings) -> None:
    check_exposure(settings)
    listening = bind(settings)
    async with open_state(settings) as state:
        config = uvicorn.Config(
            create(state),
            lifespan="off",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
        )
        logging.getLogger("memrelay.api").info(
            "accepting on http://%s:%d (no API key: loopback only)", settings.host, settings.port
        )
        gc.collect()
        gc.freeze()  # what is loaded now stays: only requests are worth looking through
        gc.set_threshold(GC_THRESHOLD)
        await Server(config, state.feeds).serve(sockets=[listening])


def main() -> int:
    return run_process("api", lambda: uvloop.run(serve(load_settings())))


if __name__ == "__main__":
    sys.exit(main())
