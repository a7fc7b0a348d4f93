"""The command ``memrelay``. Needs the ``server`` extra."""

from __future__ import annotations

import sys
from importlib import import_module

from memrelay import exits

_NEEDED = ("typer", "rich", "pydantic_settings")


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        app = import_module("memrelay.cli.app")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write("memrelay: the command line needs: pip install 'memrelay[server]'\n")
        sys.exit(exits.FAILED)
    sys.exit(app.run(sys.argv[1:]))
