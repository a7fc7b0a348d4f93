"""A whole installation on one machine without any server of its own: Redis, API and worker as children.

Needs the ``embedded`` extra. ``memrelay up`` runs it.
"""
