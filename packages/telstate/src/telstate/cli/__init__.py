"""The command ``telstate``, which needs the extra ``cli``."""

from telstate_rdb.extras import require_extra

require_extra("telstate", "cli", "The command needs", "click", "rich")
