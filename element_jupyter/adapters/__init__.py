"""Outside systems, one module each; every one implements a Protocol that core declares."""
