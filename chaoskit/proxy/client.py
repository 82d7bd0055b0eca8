"""Talks to any Toxiproxy through toxiproxy-python, with that package's gaps closed here and nowhere else.

Its gaps: one server a process (host and port are class attributes), no timeouts, no PATCH, answers of 500 and above let
through, names that are not quoted. A private copy of its modules is loaded, so that what is put right here changes
nothing for anybody else who imports it.
"""

from __future__ import annotations

import contextvars
import importlib.util
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from chaoskit.errors import ProxyError

if TYPE_CHECKING:
    import requests

__all__ = ["Gone", "NotThere", "ProxyInfo", "ToxicInfo", "Toxiproxy"]

_Read = TypeVar("_Read")
_TIMEOUT = (2.0, 10.0)
"""Seconds to connect, and to wait for an answer (removing a toxic can take a while on a real one)."""
_PRIVATE = "_chaoskit_toxiproxy"


class Gone(ProxyError):
    """Nothing listens there."""


class NotThere(ProxyError):
    """The server has no proxy or toxic of that name."""


class ToxicInfo(msgspec.Struct, frozen=True):
    """A toxic as a server tells it."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: dict[str, Any]


class ProxyInfo(msgspec.Struct, frozen=True):
    """A proxy as a server tells it."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: list[ToxicInfo] = []


_here: contextvars.ContextVar[Toxiproxy] = contextvars.ContextVar("toxiproxy")
"""The server that the calling thread talks to now."""


class _Consumer:
    """Stands in for the package's APIConsumer: sends to the server of the calling thread."""

    @classmethod
    def get(cls, url: str, params: Mapping[str, str] | None = None) -> requests.Response:  # noqa: ARG003 - its shape
        return _here.get().request("GET", url)

    @classmethod
    def delete(cls, url: str) -> requests.Response:
        return _here.get().request("DELETE", url)

    @classmethod
    def post(cls, url: str, data: object = None, json: object = None) -> requests.Response:  # noqa: ARG003 - its shape
        return _here.get().request("POST", url, json)


@cache
def _library() -> ModuleType:
    """Our copy of the package's `server` module. Raises ProxyError where the package is missing."""
    spec = importlib.util.find_spec("toxiproxy")
    if spec is None or not spec.submodule_search_locations:
        raise ProxyError("the Python package toxiproxy-python is missing", hint="pip install toxiproxy-python")
    package = ModuleType(_PRIVATE)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[_PRIVATE] = package
    server, proxy = import_module(f"{_PRIVATE}.server"), import_module(f"{_PRIVATE}.proxy")
    server.APIConsumer = proxy.APIConsumer = _Consumer  # type: ignore[attr-defined]  # the copy is ours to change
    return server


class Toxiproxy:
    """One server. Thread-safe. Every method raises ProxyError, `Gone` where nothing listens."""

    def __init__(self, url: str) -> None:
        """A token that the server asks for stands before the host, as a password does: `http://:TOKEN@127.0.0.1:8474`.
        It is sent as a bearer token, and `url` is without it."""
        self.locator = url.rstrip("/")
        """The URL with its token: for the journal, never for people."""
        wrong = ProxyError(f"{url!r} is no address of a Toxiproxy", hint="write it like http://127.0.0.1:8474")
        try:
            parts = urlsplit(self.locator)
            port = parts.port
        except ValueError as error:
            raise wrong from error
        self.url = self.locator.replace(f":{parts.password}@", "", 1) if parts.password else self.locator
        self.headers = {"Authorization": f"Bearer {parts.password}"} if parts.password else {}
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise wrong
        self.host = parts.hostname
        self.port = port or (443 if parts.scheme == "https" else 80)
        self._local = threading.local()

    def answers(self, within: float) -> bool:
        """Whether it answers, in so many seconds."""
        for _ in range(2):  # a connection that was kept may have been closed by the other side since
            try:
                self.request("GET", "/version", timeout=(within, within))
            except Gone:
                continue
            except ProxyError:
                return False
            return True
        return False

    def version(self) -> str:
        """Raises ProxyError where what answers is no Toxiproxy."""
        answer = self.request("GET", "/version")
        try:
            return str(answer.json()["version"])
        except (ValueError, KeyError, TypeError):
            raise ProxyError(f"what answers at {self.url} is no Toxiproxy") from None

    def proxies(self) -> dict[str, ProxyInfo]:
        return self._read(self.request("GET", "/proxies"), dict[str, ProxyInfo])

    def proxy(self, name: str) -> ProxyInfo:
        return self._read(self.request("GET", f"/proxies/{_quoted(name)}"), ProxyInfo)

    def create(self, name: str, upstream: str, *, listen: str = "127.0.0.1:0", **ours: object) -> ProxyInfo:
        """Stand a proxy there; `ours` are fields that the embedded server understands and others pass over."""
        wanted = {"name": name, "listen": listen, "upstream": upstream, **ours}
        return self._read(self.request("POST", "/proxies", wanted), ProxyInfo)

    def set_callers(self, name: str, callers: Sequence[str]) -> None:
        """Of a proxy that shares its port: whom it is for from now on. Of the embedded server."""
        self.request("POST", f"/proxies/{_quoted(name)}", {"callers": list(callers)})

    def delete(self, name: str) -> bool:
        """False where there was none."""
        return self._removed("DELETE", f"/proxies/{_quoted(name)}")

    def set_enabled(self, name: str, enabled: bool) -> None:
        handle = self._handle(name)
        token = _here.set(self)
        try:
            if enabled:
                handle.enable()
            else:
                handle.disable()
        finally:
            _here.reset(token)

    def toxics(self, proxy: str) -> list[ToxicInfo]:
        return self._read(self.request("GET", f"/proxies/{_quoted(proxy)}/toxics"), list[ToxicInfo])

    def add_toxic(
        self,
        proxy: str,
        name: str,
        type_: str,
        *,
        stream: str = "downstream",
        toxicity: float = 1.0,
        attributes: Mapping[str, object] | None = None,
    ) -> None:
        handle = self._handle(proxy)
        token = _here.set(self)
        try:
            handle.add_toxic(name=name, type=type_, stream=stream, toxicity=toxicity, attributes=dict(attributes or {}))
        finally:
            _here.reset(token)

    def update_toxic(
        self, proxy: str, name: str, *, toxicity: float | None = None, attributes: Mapping[str, object] | None = None
    ) -> None:
        """Only what is given changes. Servers before 2.6 take a POST where newer ones want PATCH."""
        change: dict[str, object] = {}
        if toxicity is not None:
            change["toxicity"] = toxicity
        if attributes is not None:
            change["attributes"] = dict(attributes)
        self.request(self._change_method(), f"/proxies/{_quoted(proxy)}/toxics/{_quoted(name)}", change)

    def remove_toxic(self, proxy: str, name: str) -> bool:
        """False where there was none (or no such proxy)."""
        return self._removed("DELETE", f"/proxies/{_quoted(proxy)}/toxics/{_quoted(name)}")

    def reset(self) -> None:
        server = _library().Toxiproxy()
        token = _here.set(self)
        try:
            server.reset()
        finally:
            _here.reset(token)

    # -- the wire

    def request(
        self, method: str, path: str, body: object = None, *, timeout: tuple[float, float] | None = None
    ) -> requests.Response:
        """One request, with time limits; any answer that is no success is an error."""
        import requests

        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False  # a proxy for the web must not stand before a control port
        try:
            answer = session.request(
                method,
                self.url + path,
                data=None if body is None else json.dumps(body).encode(),
                headers=self.headers if body is None else {**self.headers, "Content-Type": "application/json"},
                timeout=timeout or _TIMEOUT,
                allow_redirects=False,
            )
        except requests.ConnectionError as error:
            raise Gone(f"no Toxiproxy answers at {self.url}", detail=str(error)) from None
        except requests.Timeout:
            raise ProxyError(f"the Toxiproxy at {self.url} did not answer {method} {path} in time") from None
        except requests.RequestException as error:
            raise ProxyError(f"{method} {self.url}{path} failed: {error}") from None
        if not answer.ok:
            raise _refusal(self.url, method, path, answer.status_code, answer.text)
        return answer

    def _handle(self, name: str) -> Any:
        """The package's own object of one proxy, without asking the server for all of them first."""
        proxy_class = _library().Proxy
        return proxy_class(name=_quoted(name), upstream="", enabled=True, listen="")

    def _removed(self, method: str, path: str) -> bool:
        try:
            self.request(method, path)
        except NotThere:
            return False
        return True

    def _change_method(self) -> Literal["PATCH", "POST"]:
        numbers = self.version().split(".")
        if numbers[0].isdigit() and len(numbers) > 1 and numbers[1].isdigit():
            return "PATCH" if (int(numbers[0]), int(numbers[1])) >= (2, 6) else "POST"
        return "PATCH"

    def _read(self, answer: requests.Response, kind: type[_Read]) -> _Read:
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise ProxyError(f"what answers at {self.url} is no Toxiproxy: {error}") from None


def _refusal(url: str, method: str, path: str, status: int, text: str) -> ProxyError:
    try:
        said = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        said = text.strip()[:200] or f"status {status}"
    kind = NotThere if status == 404 else ProxyError
    return kind(f"the Toxiproxy at {url} refused {method} {path}: {said}")


def _quoted(name: str) -> str:
    return quote(name, safe="")
