"""The embedded proxy beside the real Toxiproxy, in one run: requests, bulk, a 100 ms toxic, connections, memory.

    python benchmarks/proxy.py [--quick] [--markdown]

The proxy under test has one core to itself; nginx and the load (wrk, and our own client for delays) share the other.
What it does for each second of CPU time that it used is printed too: on a busy machine only that compares.
Needs wrk and nginx on PATH, and a real Toxiproxy (`chaoskit proxy install`).
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chaoskit.proxy.install import find_toxiproxy

ROOT = Path(__file__).resolve().parent.parent
_SMALL, _BULK = "/small", "/bulk"
_BULK_SIZE = 64 * 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a third of the time")
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/proxy.md")
    options = parser.parse_args()
    missing = [name for name in ("wrk", "nginx") if shutil.which(name) is None]
    real = find_toxiproxy()
    if missing or not real:
        sys.exit(f"missing: {', '.join(missing + ([] if real else ['toxiproxy-server']))}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    seconds = 2 if options.quick else 6
    rows: dict[str, dict[str, str]] = {}
    with nginx() as backend:
        rows["direct (no proxy)"] = {
            "requests/s": f"{requests_per_second(backend, seconds):,.0f}",
            "GB/s": f"{bulk(backend, seconds):.2f}",
        }
        contenders: list[tuple[str, Sequence[str], dict[str, object]]] = [
            ("real Toxiproxy", [real, "-port", "{port}", "-proxy-metrics"], {}),
            ("embedded, plain", [sys.executable, "-m", "chaoskit.proxy.server", "--port", "{port}"], {}),
            (
                "embedded, tap reading HTTP",
                [sys.executable, "-m", "chaoskit.proxy.server", "--port", "{port}"],
                {"protocol": "http", "tap": True},
            ),
        ]
        for name, argv, extra in contenders:
            rows[name] = measure(argv, extra, backend, seconds)
            print(name, rows[name], file=sys.stderr)
    show(rows, options.markdown)


def measure(argv: Sequence[str], extra: dict[str, object], backend: int, seconds: int) -> dict[str, str]:
    """All figures of one server."""
    with server(argv) as (port, pid):
        if extra:
            drain = subprocess.Popen(
                ["taskset", "-c", "1", "curl", "-sN", "-o", "/dev/null", f"http://127.0.0.1:{port}/chaoskit/taps"]
            )
        made = api(
            port,
            "POST",
            "/proxies",
            {"name": "p", "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{backend}", **extra},
        )
        listen = int(str(made["listen"]).rpartition(":")[2])
        row: dict[str, str] = {}
        used = cpu_seconds(pid)
        rate = requests_per_second(listen, seconds)
        row["requests/s"] = f"{rate:,.0f}"
        row["per CPU second"] = f"{rate * seconds / (cpu_seconds(pid) - used):,.0f}"
        used = cpu_seconds(pid)
        rate = bulk(listen, seconds)
        row["GB/s"] = f"{rate:.2f}"
        row["GB per CPU second"] = f"{rate * seconds / (cpu_seconds(pid) - used):.2f}"
        row["open connections"] = str(held_open(listen, 2000))
        in_force, api_took = toxic_in_force(port, listen)
        row["toxic in force"] = f"{in_force} (API p50 {api_took * 1e3:.1f} ms)"
        api(port, "POST", "/proxies/p/toxics", {"name": "slow", "type": "latency", "attributes": {"latency": 100}})
        took = asyncio.run(delays(listen, rate=1000, seconds=seconds))
        row["100 ms toxic: lowest / p50 / p99"] = " / ".join(
            f"{took[min(len(took) - 1, int(len(took) * q))] * 1e3:.1f}" for q in (0.0, 0.5, 0.99)
        )
        api(port, "DELETE", "/proxies/p/toxics/slow")
        before = rss(pid)
        count = 100_000 if seconds < 5 else 1_000_000
        began = time.monotonic()
        done = 0
        while done < count and time.monotonic() - began < 60:
            done += int(requests_per_second(listen, 5) * 5)
        row[f"memory over {done:,} requests"] = f"{before:.0f} → {rss(pid):.0f} MB"
        if extra:
            drain.terminate()
            drain.wait()
        return row


@contextmanager
def server(argv: Sequence[str]) -> Iterator[tuple[int, int]]:
    """A proxy server on core 0: its control port and pid."""
    port = free_port()
    command = ["taskset", "-c", "0", *(part.format(port=port) for part in argv)]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "GOMAXPROCS": "1", "LOG_LEVEL": "error"}, stdout=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                api(port, "GET", "/version")
                break
            except OSError:
                time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nginx() -> Iterator[int]:
    """nginx on core 1: a small answer and a large one; yields its port."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        (Path(folder) / "bulk").write_bytes(os.urandom(1024) * (_BULK_SIZE // 1024))
        (Path(folder) / "nginx.conf").write_text(
            f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
            {"user root;" if os.geteuid() == 0 else ""}
            events {{ worker_connections 8192; }}
            http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; sendfile on; tcp_nodelay on;
              client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
              uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
              server {{ listen 127.0.0.1:{port} backlog=4096; root {folder};
                location {_SMALL} {{ return 200 "{"x" * 100}"; }} }} }}"""
        )
        process = subprocess.Popen(["taskset", "-c", "1", "nginx", "-c", f"{folder}/nginx.conf", "-p", folder])
        try:
            time.sleep(0.5)
            yield port
        finally:
            process.terminate()
            process.wait()


def requests_per_second(port: int, seconds: int) -> float:
    return float(wrk(port, _SMALL, seconds, 32)["Requests/sec"])


def bulk(port: int, seconds: int) -> float:
    """GB/s of large answers."""
    text = wrk(port, _BULK, seconds, 4)["Transfer/sec"]
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]  # wrk's own format
    return float(number) * {"KB": 2**10, "MB": 2**20, "GB": 2**30}[unit] / 1e9


def wrk(port: int, path: str, seconds: int, connections: int) -> dict[str, str]:
    ran = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{port}{path}"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(re.findall(r"^(Requests/sec|Transfer/sec):\s+(\S+)", ran.stdout, re.MULTILINE))
    if "Socket errors" in ran.stdout:
        print(ran.stdout, file=sys.stderr)
    return found


def held_open(port: int, count: int) -> int:
    """Connections that are open at once, each of which answers."""
    sockets = []
    try:
        sockets += [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(count)]
        answered = 0
        for sock in sockets:
            sock.sendall(f"GET {_SMALL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for sock in sockets:
            answered += sock.recv(65536).startswith(b"HTTP/1.1 200")
        return answered
    finally:
        for sock in sockets:
            sock.close()


def toxic_in_force(port: int, listen: int, tries: int = 50) -> tuple[str, float]:
    """How often the very next call after the API's answer is delayed, and how long the API took (median)."""
    hit, asked = 0, []
    with socket.create_connection(("127.0.0.1", listen)) as sock:
        for _ in range(tries):
            began = time.perf_counter()
            api(port, "POST", "/proxies/p/toxics", {"name": "t", "type": "latency", "attributes": {"latency": 20}})
            asked.append(time.perf_counter() - began)
            began = time.perf_counter()
            sock.sendall(f"GET {_SMALL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            sock.recv(65536)
            hit += time.perf_counter() - began >= 0.02
            api(port, "DELETE", "/proxies/p/toxics/t")
    return f"{hit} of {tries} next calls", sorted(asked)[tries // 2]


async def delays(port: int, rate: int, seconds: int) -> list[float]:
    """Seconds that calls took, sorted; each connection sends one every 0.2 s, evenly spread over all."""
    os.sched_setaffinity(0, {1})
    loop = asyncio.get_running_loop()
    took: list[float] = []

    class Client(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

            self.sent: deque[float] = deque()

        def send(self) -> None:
            self.sent.append(time.perf_counter())
            self.transport.write(request)  # type: ignore[attr-defined]  # a TCP transport

        def data_received(self, data: bytes) -> None:
            took.append(time.perf_counter() - self.sent.popleft())

    request = f"GET {_SMALL} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    clients = [(await loop.create_connection(Client, "127.0.0.1", port))[1] for _ in range(rate // 5)]
    start = loop.time() + 0.1
    for number in range(rate * seconds):
        await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
        clients[number % len(clients)].send()
    await asyncio.sleep(0.5)
    for client in clients:
        client.transport.close()
    os.sched_setaffinity(0, {0, 1})
    return sorted(took[rate // 5 :])


def api(port: int, method: str, path: str, body: object = None) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {data!r}")
        return json.loads(data) if data else {}
    finally:
        connection.close()


def cpu_seconds(pid: int) -> float:
    """What the process has used of a core: what a busy machine leaves comparable."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> float:
    """Resident memory in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]  # Linux always has it


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def show(rows: dict[str, dict[str, str]], markdown: bool) -> None:
    names = list(dict.fromkeys(name.partition(" over ")[0] for row in rows.values() for name in row))
    table = [["", *names]]
    for title, row in rows.items():
        short = {name.partition(" over ")[0]: value for name, value in row.items()}
        table.append([title, *(short.get(name, "–") for name in names)])
    if markdown:
        table.insert(1, ["---"] * len(table[0]))
        print("\n".join(f"| {' | '.join(line)} |" for line in table))
        return
    for column in range(1, len(table[0])):
        print(f"\n{table[0][column]}")
        for line in table[1:]:
            print(f"  {line[0]:<30} {line[column]}")


if __name__ == "__main__":
    main()
