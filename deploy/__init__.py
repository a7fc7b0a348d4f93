"""How memrelay's servers are run: images and compose files, and ``native`` for a machine without Docker."""
