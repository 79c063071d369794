"""What tests and benchmarks use of the peer; it is only in an environment of its own."""
