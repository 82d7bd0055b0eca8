"""A small service for faults on processes: answers at once, also about its health.

`python callee.py HOST PORT [WORK [FOLDER]]`: WORK `cpu` burns 10 ms of processor for each call, `memory` keeps half a
megabyte of each, `disk` writes 64 KB of it into FOLDER (default: where it started).
"""

import os
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORK = sys.argv[3] if len(sys.argv) > 3 else ""
FOLDER = sys.argv[4] if len(sys.argv) > 4 else "."
KEPT: list[bytes] = []


class Callee(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/" and WORK == "cpu":
            until = time.thread_time() + 0.01
            while time.thread_time() < until:
                pass
        if self.path == "/" and WORK == "memory":
            try:
                KEPT.append(b"x" * 2**19)
            except MemoryError:
                os._exit(3)
        if self.path == "/" and WORK == "disk":
            with tempfile.TemporaryFile(dir=FOLDER) as file:
                file.write(b"x" * 2**16)
                file.flush()
                os.fsync(file.fileno())
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Callee)
    server.daemon_threads = True
    server.serve_forever()
