"""A small service that calls others all the time: `python caller.py HOST PORT`; CALLEES_<service> in its environment
names the replicas of each (`http://a:1,http://b:2`). At /answers it tells what each has answered with (0: nothing).

Nothing of chaoskit is imported: in a container it stands alone.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RATE = 12
TIMEOUT = 0.25
ANSWERS: dict[str, list[list[int]]] = {}
"""By environment variable, of each of its replicas in turn."""


def keep_calling(address: tuple[str, int], path: str, stop: threading.Event, answers: list[int]) -> None:
    """Call at a steady rate on one connection that is kept alive, as a pool would; a new one after any trouble."""
    connection: http.client.HTTPConnection | None = None
    while not stop.wait(1 / RATE):
        try:
            if connection is None:
                connection = http.client.HTTPConnection(*address, timeout=TIMEOUT)
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            answers.append(response.status)
            if response.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException):
            answers.append(0)
            if connection is not None:
                connection.close()
            connection = None
    if connection is not None:
        connection.close()


class Caller(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(ANSWERS).encode() if self.path == "/answers" else b"{}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    for name, urls in os.environ.items():
        if name.startswith("CALLEES_"):
            ANSWERS[name] = []
            for url in urls.split(","):
                host, _, port = url.removeprefix("http://").rpartition(":")
                answers: list[int] = []
                ANSWERS[name].append(answers)
                args = ((host, int(port)), "/", threading.Event(), answers)
                threading.Thread(target=keep_calling, args=args, daemon=True).start()
    server = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Caller)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
