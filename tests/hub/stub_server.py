"""A person's server that is there at once, and tells its secrets to whoever asks."""

import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        names = ("JUPYTERHUB_CLIENT_ID", "JUPYTERHUB_API_TOKEN", "JUPYTERHUB_OAUTH_CALLBACK_URL")
        self.wfile.write(json.dumps({name: os.environ[name] for name in names}).encode())


url = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
HTTPServer((url.hostname or "", url.port or 0), Answer).serve_forever()
