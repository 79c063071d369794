"""NumPy arrays, scalars and dtypes as the payloads of extension types; these modules load NumPy."""
