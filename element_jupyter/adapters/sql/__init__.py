"""The control plane's PostgreSQL: runs, fires and their schema."""
