"""Import every module of a package; run where nothing is installed that it does not declare.

Usage: ``python import_all.py PACKAGE``. Modules that need an extra say so in an ``ImportError`` whose
message names the extra in brackets, and are let pass.
"""

import importlib
import pkgutil
import sys


def main(name: str) -> None:
    """Import the package and all below it."""
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if f"{name.replace('_', '-')}[" not in str(error):
                raise
            print(f"{module.name}: {error}")


if __name__ == "__main__":
    main(sys.argv[1])
