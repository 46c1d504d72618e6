"""One run: a notebook executed with its parameters, limits and events."""
