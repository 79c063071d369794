"""Read and write Redis snapshots (RDB files) and DUMP payloads of every Redis version."""
