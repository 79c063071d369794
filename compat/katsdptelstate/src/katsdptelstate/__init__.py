"""katsdptelstate, implemented by telstate.

This module replaces itself by `telstate.dropin.katsdptelstate` when it is imported, so that all of its
submodules are found too.
"""

import sys

from telstate import install_as_katsdptelstate

del sys.modules[__name__]
install_as_katsdptelstate()
