"""JupyterHub's REST interface, as Element uses it."""
