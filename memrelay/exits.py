"""Exit codes of every command, and how its errors are told."""

OK = 0
FAILED = 1
USAGE = 2
PARTIAL = 3
UNAVAILABLE = 4

ERRORS = "MEMRELAY_ERRORS"
"""Set to ``json`` by the command line for processes that it starts, where it was asked for JSON."""
