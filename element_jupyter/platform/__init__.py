"""Composition roots: read the configuration, wire the objects, supervise the processes."""
