"""The entry point of ``telstate-rdb`` and ``python -m telstate_rdb``; the command is in :mod:`telstate_rdb.cli`."""

import sys


def main() -> None:
    """Run the command; without the packages that it needs, name the extra and exit with status 2."""
    try:
        from telstate_rdb.cli.main import main as run
    except ImportError as error:
        if "telstate-rdb[cli]" not in str(error):
            raise
        print(error, file=sys.stderr)
        sys.exit(2)
    run(prog_name="telstate-rdb")


if __name__ == "__main__":
    main()
