"""docker-compose.yml, truly started: ``python -m tests.compose``."""
