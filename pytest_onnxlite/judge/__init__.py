"""Measurement and baseline in, verdict out: pure functions, without pytest and without I/O."""
