"""Benchmarks: each row is measured beside its peer, in one run, and printed as a ratio."""
