"""The entry point of ``telstate`` and ``python -m telstate``; the command is in :mod:`telstate.cli`."""

from telstate_rdb.entry_point import run_command


def main() -> None:
    """Run the command."""
    run_command("telstate.cli.main", "telstate")


if __name__ == "__main__":
    main()
