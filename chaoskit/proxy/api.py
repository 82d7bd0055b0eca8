"""Toxiproxy's HTTP API over a collection of proxies, and ours beside it under /chaoskit/.

/version /proxies /proxies/{p} /proxies/{p}/toxics /proxies/{p}/toxics/{t} /populate /reset /metrics
/chaoskit/taps          every tap's slots as they close, one JSON line each, `{}` where a slot had nothing to say
/chaoskit/taps/flush    close the open slots and report open calls now
/chaoskit/proxies/{p}   what is open on one proxy, and what its toxics hit
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import time
from collections.abc import Callable, Coroutine
from hmac import compare_digest
from urllib.parse import unquote, unquote_to_bytes

import msgspec

from chaoskit.proxy import gojson, metrics
from chaoskit.proxy.collection import ApiError, Collection, proxies_json, proxy_json, toxic_json
from chaoskit.proxy.control import Request, Response, Streaming
from chaoskit.proxy.proxy import Proxy

__all__ = ["Api"]

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_TIMED_OUT = b"<html><head><title>Timeout</title></head><body><h1>Timeout</h1></body></html>"
_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_LOCAL = ("localhost", "127.0.0.1", "[::1]")

Handler = Callable[[Request, list[str]], Coroutine[object, object, Response]]


class Api:
    """Answers requests of the control port. Everything runs on the loop's thread."""

    def __init__(
        self,
        collection: Collection,
        streaming: Streaming,
        *,
        host: str = "127.0.0.1",
        token: str = "",
        proxy_metrics: bool = False,
        runtime_metrics: bool = False,
    ) -> None:
        self.collection = collection
        self.streaming = streaming
        self.context = collection.context
        self.strict = self.context.strict
        self.hosts = (*_LOCAL, host.lower(), f"[{host.lower()}]")
        self.token = token
        self.proxy_metrics = proxy_metrics or not self.strict
        self.runtime_metrics = runtime_metrics
        self.patience = 25.0
        """Seconds in which a strict one must answer."""
        self._late: set[asyncio.Task[Response]] = set()
        self._encoder = msgspec.json.Encoder()
        self._requests = int.from_bytes(os.urandom(8), "big")

    # -- the middle

    async def answer(self, request: Request) -> Response:
        refused = self._guard(request)
        if refused is not None:
            return refused
        raw, _, query = request.target.partition("?")
        # A real one unquotes the path before it takes it apart, so it cannot find names with a slash.
        path = unquote_to_bytes(raw).decode("utf-8", "replace") if self.strict else raw
        clean = posixpath.normpath(path) if path else "/"
        clean = "/" + clean.lstrip("/") + ("/" if path.endswith("/") and clean.strip("/") else "")
        if clean != path and path.startswith("/"):
            return Response(301, headers={"Location": clean + (f"?{query}" if query else "")})
        parts = path.split("/") if self.strict else [unquote(part) for part in path.split("/")]
        handler, names = self._route(request.method, parts)
        if isinstance(handler, Response):
            return handler
        response = await self._matched(handler, request, names)
        self._requests += 1
        number = self._requests
        response.headers["X-Toxiproxy-Request-Id"] = "".join(
            _DIGITS[number >> shift & 31] for shift in range(0, 100, 5)
        )
        return response

    async def _matched(self, handler: Handler, request: Request, names: list[str]) -> Response:
        if request.header("user-agent").startswith("Mozilla/"):
            return Response(
                403, b"User agent not allowed\n", {"Content-Type": _TEXT, "X-Content-Type-Options": "nosniff"}
            )
        try:
            return await (self._in_time(handler(request, names)) if self.strict else handler(request, names))
        except ApiError as error:
            return self._error(error)

    async def _in_time(self, answering: Coroutine[object, object, Response]) -> Response:
        """A real one answers within its patience; what it was asked to do goes on behind that."""
        work = self.context.loop.create_task(answering)
        done, _ = await asyncio.wait([work], timeout=self.patience)
        if done:
            return work.result()
        self._late.add(work)
        work.add_done_callback(self._late.discard)
        return Response(503, _TIMED_OUT, {"Content-Type": "text/html; charset=utf-8"})

    def _guard(self, request: Request) -> Response | None:
        """Nobody without the token, where there is one; and a web page must not reach us: not by its own origin, and
        not by a name that it points at us (a strict one asks for neither, as a real one does not)."""
        wanted = f"Bearer {self.token}".encode()
        if self.token and not compare_digest(request.header("authorization").encode(), wanted):
            return self._error(ApiError("token missing or wrong", 401))
        if self.strict:
            return None
        host = request.header("host").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        origin = request.header("origin").lower()
        of_origin = origin.partition("://")[2]
        origin_name = of_origin if of_origin.endswith("]") else of_origin.rpartition(":")[0] or of_origin
        if name not in self.hosts and not self.token:
            return self._error(ApiError(f"host {host} not allowed", 403))
        if origin and origin_name not in self.hosts:
            return self._error(ApiError(f"origin {origin} not allowed", 403))
        return None

    def _route(self, method: str, parts: list[str]) -> tuple[Handler | Response, list[str]]:
        if "" in parts[1:] or parts[0]:
            return self._not_found(), []
        methods: dict[str, Handler] = {}
        names: list[str] = []
        match parts[1:]:
            case ["version"]:
                methods = {"GET": self._version}
            case ["proxies"]:
                methods = {"GET": self._list, "POST": self._create}
            case ["populate"]:
                methods = {"POST": self._populate}
            case ["reset"]:
                methods = {"POST": self._reset}
            case ["metrics"] if self.proxy_metrics or self.runtime_metrics:
                methods = {method: self._metrics}
            case ["proxies", name]:
                names = [name]
                methods = {"GET": self._show, "POST": self._change, "PATCH": self._change, "DELETE": self._delete}
            case ["proxies", name, "toxics"]:
                names = [name]
                methods = {"GET": self._toxics, "POST": self._add_toxic}
            case ["proxies", name, "toxics", toxic]:
                names = [name, toxic]
                methods = {
                    "GET": self._show_toxic,
                    "POST": self._change_toxic,
                    "PATCH": self._change_toxic,
                    "DELETE": self._delete_toxic,
                }
            case ["chaoskit", *rest] if not self.strict:
                methods, names = self._our_routes(rest)
        if not methods:
            return self._not_found(), []
        if method not in methods:
            return Response(405), []
        return methods[method], names

    def _our_routes(self, rest: list[str]) -> tuple[dict[str, Handler], list[str]]:
        match rest:
            case ["taps"]:
                return {"GET": self._taps}, []
            case ["taps", "flush"]:
                return {"POST": self._flush}, []
            case ["proxies", name]:
                return {"GET": self._inside}, [name]
        return {}, []

    def _not_found(self) -> Response:
        return Response(404, b"404 page not found\n", {"Content-Type": _TEXT, "X-Content-Type-Options": "nosniff"})

    def _error(self, error: ApiError) -> Response:
        body = gojson.dump({"error": error.message, "status": error.status}) + "\n"
        headers = (
            {"Content-Type": _TEXT, "X-Content-Type-Options": "nosniff"} if self.strict else {"Content-Type": _JSON}
        )
        return Response(error.status, body.encode(), headers)

    def _json(self, value: object, status: int = 200) -> Response:
        return Response(status, gojson.dump(value).encode(), {"Content-Type": _JSON})

    # -- Toxiproxy's endpoints

    async def _version(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        body = f'{{"version": "{self.context.version}"}}\n'.encode()
        return Response(200, body, {"Content-Type": "application/json;charset=utf-8"})

    async def _list(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        return self._json({name: proxy_json(proxy) for name, proxy in sorted(self.collection.proxies.items())})

    async def _create(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        return self._json(proxy_json(await self.collection.create(request.body)), 201)

    async def _populate(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        proxies, error = await self.collection.populate(request.body)
        shown: dict[str, object] = {} if error is None else {"error": error.message, "status": error.status}
        shown["proxies"] = proxies_json(proxies)
        return self._json(shown, 201 if error is None else error.status)

    async def _reset(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        await self._settled(await self.collection.reset())
        return Response(204)

    async def _show(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        return self._json(proxy_json(self.collection.get(names[0])))

    async def _change(self, request: Request, names: list[str]) -> Response:
        return self._json(proxy_json(await self.collection.change(names[0], request.body)))

    async def _delete(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        await self.collection.delete(names[0])
        return Response(204)

    async def _toxics(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        return self._json([toxic_json(toxic) for toxic in self.collection.get(names[0]).in_order()])

    async def _add_toxic(self, request: Request, names: list[str]) -> Response:
        return self._json(toxic_json(self.collection.add_toxic(self.collection.get(names[0]), request.body)))

    async def _show_toxic(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        return self._json(toxic_json(self.collection.find_toxic(self.collection.get(names[0]), names[1])))

    async def _change_toxic(self, request: Request, names: list[str]) -> Response:
        proxy = self.collection.get(names[0])
        toxic = self.collection.find_toxic(proxy, names[1])
        self.collection.change_toxic(proxy, toxic, request.body)
        return self._json(toxic_json(toxic))

    async def _delete_toxic(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        proxy = self.collection.get(names[0])
        await self._settled(proxy.remove_toxic(self.collection.find_toxic(proxy, names[1])))
        return Response(204)

    async def _metrics(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        text = metrics.text(
            list(self.collection.proxies.values()) if self.proxy_metrics else [],
            live=not self.strict,
            runtime=self.runtime_metrics,
        )
        return Response(200, text.encode(), {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _settled(self, seconds: float) -> None:
        """A real one answers only when every link is rid of the toxic; a reset in progress makes it wait."""
        if self.strict and seconds > 0:
            await asyncio.sleep(seconds)

    # -- ours

    async def _taps(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        return Response(200, headers={"Content-Type": "application/x-ndjson"}, stream=True)

    async def _flush(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        self.flush()
        return Response(204)

    def tick(self, now: float) -> None:
        """Write what the taps have ready to whoever listens (nobody: it is let go); once a slot."""
        ready = self.context.hub.tick(now)
        if self.streaming.open:
            self.streaming.write(b"".join(self._encoder.encode(slot) + b"\n" for slot in ready) or b"{}\n")

    def flush(self) -> None:
        """Report what is still open, now."""
        now = time.monotonic()
        self.context.hub.flush(now)
        if self.streaming.open:
            self.tick(now)
            self.streaming.write(b'{"flushed":true}\n')

    async def _inside(self, request: Request, names: list[str]) -> Response:  # noqa: ARG002 - every handler's shape
        return self._json(_inside_of(self.collection.get(names[0])))


def _inside_of(proxy: Proxy) -> dict[str, object]:
    now = time.monotonic()
    received_up, sent_up, received_down, sent_down = proxy.bytes_now()
    return {
        "name": proxy.name,
        "protocol": proxy.protocol,
        "accepted": proxy.accepted,
        "bytes": {
            "upstream": {"received": received_up, "sent": sent_up},
            "downstream": {"received": received_down, "sent": sent_down},
        },
        "hits": {toxic.name: toxic.hits for toxic in proxy.in_order()},
        "connections": [
            {
                "number": connection.number,
                "seconds": round(now - connection.since, 3),
                "bytes": dict(
                    zip(("received_up", "sent_up", "received_down", "sent_down"), connection.totals(), strict=True)
                ),
                "held": sum(link.held for link in (connection.up, connection.down) if link is not None),
                "calls": 0 if connection.meter is None else len(connection.meter.calls),
            }
            for connection in sorted(proxy.connections, key=lambda connection: connection.number)
        ],
    }
