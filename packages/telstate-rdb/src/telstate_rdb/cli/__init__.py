"""The command ``telstate-rdb``, which needs the extra ``cli``."""

from telstate_rdb.extras import require_extra

require_extra("telstate-rdb", "cli", "The command needs", "click", "rich")
