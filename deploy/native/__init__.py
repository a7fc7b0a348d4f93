"""Redis, Weaviate, PostgreSQL, RabbitMQ and toxiproxy as child processes on loopback.

For ``memrelay up``, tests, drills. Standard library only. Every server started here ends when the process
that started it ends.
"""
