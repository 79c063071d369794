"""Import every module of a package, in an environment with only the dependencies that it declares.

Usage: ``python import_all.py PACKAGE``. A module that needs an extra may raise an ``ImportError`` whose
message names the extra.
"""

import importlib
import pkgutil
import sys


def main(name: str) -> None:
    """Import the package and all its modules."""
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if f"Install {name.replace('_', '-')} with its extra" not in str(error):
                raise
            print(f"{module.name}: {error}")


if __name__ == "__main__":
    main(sys.argv[1])
