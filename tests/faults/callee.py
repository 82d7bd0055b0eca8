"""A small service for faults on processes: answers at once, also about its health. `python callee.py HOST PORT`."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Callee(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
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
