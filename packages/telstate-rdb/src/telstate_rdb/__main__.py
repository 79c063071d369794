"""The entry point of ``telstate-rdb`` and ``python -m telstate_rdb``; the command is in :mod:`telstate_rdb.cli`."""

from telstate_rdb.entry_point import run_command


def main() -> None:
    """Run the command."""
    run_command("telstate_rdb.cli.main", "telstate-rdb")


if __name__ == "__main__":
    main()
