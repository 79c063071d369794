"""The entry point of ``telstate`` and ``python -m telstate``; the command is in :mod:`telstate.cli`."""

import sys


def main() -> None:
    """Run the command; without the packages that it needs, name the extra and exit with status 2."""
    try:
        from telstate.cli.main import main as run
    except ImportError as error:
        if "telstate[cli]" not in str(error):
            raise
        print(error, file=sys.stderr)
        sys.exit(2)
    run(prog_name="telstate")


if __name__ == "__main__":
    main()
