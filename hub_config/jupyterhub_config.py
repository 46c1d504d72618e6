"""The Hub's configuration. What Element needs is one call; anything of JupyterHub's own may follow.

Sizes, teams and quotas are in YAML files beside it, and are read again when they change.
"""

from traitlets.config import get_config

from element_jupyter.platform.hub.configure import configure

c = get_config()
configure(c)
