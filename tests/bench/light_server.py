"""A person's server that answers whatever it is asked, and costs next to nothing.

It is run without `site`, so that a hundred of them are no load of their own.
"""

import os
import socket

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

address = os.environ["JUPYTERHUB_SERVICE_URL"].split("/")[2]
host, _, port = address.rpartition(":")
listening = socket.create_server((host, int(port)))
while True:
    asking, _ = listening.accept()
    with asking:
        if asking.recv(65536):
            asking.sendall(ANSWER)
