"""``python -m mediaserver`` is the ``mediaserver`` command."""

from mediaserver.cli import main


if __name__ == "__main__":
    main()
