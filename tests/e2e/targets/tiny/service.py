"""One service of the tiny target: answers after WORK seconds, and asks NEXT_URL first where it has one."""

import http.client
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    connections = threading.local()

    def do_GET(self) -> None:
        if self.path == "/health/live":
            return self.answer(200)
        following = os.environ.get("NEXT_URL", "")
        status = 200
        if following:
            status = self.ask(following, self.path)
        elif not self.path.startswith("/health"):
            time.sleep(float(os.environ.get("WORK", "0.01")))
        return self.answer(status)

    do_POST = do_GET

    def ask(self, url: str, path: str) -> int:
        kept = getattr(self.connections, "kept", None)
        for attempt in (kept, None):
            link = attempt or http.client.HTTPConnection(
                urlsplit(url).netloc, timeout=float(os.environ.get("TIMEOUT", "1"))
            )
            try:
                headers = {"traceparent": self.headers.get("traceparent", "")}
                link.request("GET", path, headers=headers)
                answer = link.getresponse()
                answer.read()
                self.connections.kept = link
                return answer.status
            except (OSError, http.client.HTTPException):
                link.close()
                self.connections.kept = None
        return 503

    def answer(self, status: int) -> None:
        body = b"ok" if status == 200 else b"no"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    print("serving on", sys.argv[1:], flush=True)
    Server((sys.argv[1], int(sys.argv[2])), Service).serve_forever()
