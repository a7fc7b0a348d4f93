"""The command ``memrelay``. Needs the ``cli`` extra, and ``server`` for what runs here."""

from __future__ import annotations

import sys
from importlib import import_module

from memrelay import exits

_NEEDED = ("typer", "rich", "pydantic_settings")
_MEND = (
    "memrelay: the SDK alone is installed. The command line needs: pip install 'memrelay[cli]', "
    "api and worker: 'memrelay[server]', up, which brings all: 'memrelay[embedded]'\n"
)


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        app = import_module("memrelay.cli.app")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(_MEND)
        sys.exit(exits.FAILED)
    sys.exit(app.run(sys.argv[1:]))
