"""The command ``python -m telstate_rdb``, which needs the extra ``cli``."""
