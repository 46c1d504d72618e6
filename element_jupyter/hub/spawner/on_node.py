"""What a batch system starts on a node: `python -m … COMMAND…` tells the Hub a port, and executes.

It imports the standard library only, since a node may be slow to import more.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import MutableMapping


def main(command: list[str], variables: MutableMapping[str, str]) -> None:
    """Choose a free port, tell it, and become the command; does not return."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    request = urllib.request.Request(  # noqa: S310 - the Hub's address, from the Hub
        f"{variables['JUPYTERHUB_API_URL'].rstrip('/')}/batchspawner",
        data=json.dumps({"port": port}).encode(),
        headers={
            "Authorization": f"token {variables['ELEMENT_PORT_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=30):
        pass
    del variables["ELEMENT_PORT_TOKEN"]
    url = urllib.parse.urlsplit(variables["JUPYTERHUB_SERVICE_URL"])
    variables["JUPYTERHUB_SERVICE_URL"] = url._replace(netloc=f"{url.hostname}:{port}").geturl()
    os.execvpe(command[0], command, dict(variables))  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
