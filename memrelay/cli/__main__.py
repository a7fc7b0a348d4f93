"""``python -m memrelay.cli``: where the command is not on the path."""

from memrelay.cli import main

if __name__ == "__main__":
    main()
