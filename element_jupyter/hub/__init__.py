"""The JupyterHub face. Empty until the Hub issue: nothing imports it yet."""
