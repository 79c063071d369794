"""The parts of the peer that tests and benchmarks use; it is installed in its own environment only."""
