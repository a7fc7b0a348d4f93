"""Exit codes of every command."""

OK = 0
FAILED = 1
USAGE = 2
PARTIAL = 3
UNAVAILABLE = 4
