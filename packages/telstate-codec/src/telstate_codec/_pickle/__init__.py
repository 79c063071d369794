"""A reader of pickles that hold plain data, which runs nothing: the policy ``"safe"``."""
