"""The `element` command: parse, call, print."""
