"""Composition of JupyterHub: how it is configured, started, and used by the control plane."""
