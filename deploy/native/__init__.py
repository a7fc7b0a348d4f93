"""Redis and Weaviate as child processes on loopback: for ``memrelay up``, tests and fault drills.

Standard library only. Every server started here ends when the process that started it ends.
"""
