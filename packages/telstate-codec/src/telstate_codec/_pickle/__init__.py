"""A reader for pickles of plain data that runs nothing: the policy ``"safe"``."""
