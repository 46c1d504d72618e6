"""Running what is not trusted: build scripts of packages that exist as source only.

`Bubblewrap.wrap` puts a command into namespaces of its own: it sees the system's programs, what it
is given to read, and one place to write; it has no credentials, and its only way to the network is
the `Gateway`, which lets it talk to the hosts of the package indexes.
"""

from element_jupyter.adapters.sandbox.bubblewrap import Bubblewrap, Wrapped

__all__ = ["Bubblewrap", "Wrapped"]
