"""memrelay: memories for AI agents, taken in at volume, with a 202 that can be checked."""

__version__ = "0.1.0"
