"""The value types of the format: how each is read, skipped and written."""
