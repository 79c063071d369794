"""NumPy arrays, scalars and dtypes, as the payloads of extension types. Importing these loads NumPy."""
