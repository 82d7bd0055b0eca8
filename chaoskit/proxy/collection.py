"""The proxies of one server by name, and what may be said about them: creating, changing, populating, resetting."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence

from chaoskit.proxy import gojson
from chaoskit.proxy.addresses import AddressError, literal, port_of, split
from chaoskit.proxy.context import Context
from chaoskit.proxy.doorway import Doorway
from chaoskit.proxy.extra_toxics import EXTRA_KINDS
from chaoskit.proxy.gojson import GoError, Value
from chaoskit.proxy.proxy import Proxy
from chaoskit.proxy.toxic import DOWNSTREAM, UPSTREAM, Kind, Toxic
from chaoskit.proxy.toxics import KINDS

__all__ = ["ApiError", "Collection", "proxies_json", "proxy_json", "toxic_json"]

_RUN_PART = re.compile(r"^chaoskit-[0-9a-f]{8}-")
"""What tells one run's toxics from another's: no part of what the seed decides, or no run could be repeated."""

_PROXY = {"name": "string", "listen": "string", "upstream": "string", "enabled": "bool", "Logger": "zerolog.Logger"}
_OURS = {"protocol": "string", "tap": "bool", "toxics": "any", "callers": "any", "otherwise": "string"}
_TOXIC = {
    "name": "string",
    "type": "string",
    "stream": "string",
    "toxicity": "float32",
    "attributes": "toxics.NoopToxic",
}
_PROTOCOLS = ("http", "tcp", "postgres", "redis")
_POPULATE_ITEM = 'struct { toxiproxy.Proxy; Enabled *bool "json:\\"enabled\\"" }'


class ApiError(Exception):
    """An answer other than success, in Toxiproxy's words."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def _bad_body(error: GoError) -> ApiError:
    return ApiError(f"bad request body: {error}", 400)


def _read(body: bytes) -> Value:
    try:
        return gojson.decode(body)
    except GoError as error:
        raise _bad_body(error) from None


class Collection:
    """All proxies. Changes are made one at a time."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.proxies: dict[str, Proxy] = {}
        self.doors: dict[str, Doorway] = {}
        """Listeners that proxies share, by their address."""
        self._lock = asyncio.Lock()
        self._kinds: Mapping[str, Kind] = KINDS if context.strict else {**KINDS, **EXTRA_KINDS}

    def get(self, name: str) -> Proxy:
        if name not in self.proxies:
            raise ApiError("proxy not found", 404)
        return self.proxies[name]

    # -- proxies

    async def create(self, body: bytes) -> Proxy:
        value = _read(body)
        read = self._proxy_fields(value, "Proxy", "toxiproxy.Proxy")
        async with self._lock:
            proxy = self._made(read)
            if proxy.name in self.proxies:
                self._unmade(proxy)
                raise ApiError("proxy already exists", 409)
            await self._started(proxy, read)
            self.proxies[proxy.name] = proxy
        return proxy

    async def change(self, name: str, body: bytes) -> Proxy:
        proxy = self.get(name)
        read = self._proxy_fields(_read(body), "Proxy", "toxiproxy.Proxy")
        async with self._lock:
            self._call_from(proxy, read)
            try:
                await proxy.change(
                    str(read.get("listen", proxy.listen)),
                    str(read.get("upstream", proxy.upstream)),
                    bool(read.get("enabled", proxy.enabled)),
                )
            except AddressError as error:
                raise ApiError(str(error), 500) from None
        return proxy

    def _call_from(self, proxy: Proxy, read: Mapping[str, object]) -> None:
        callers = _callers(read)
        if "callers" in read and bool(callers) != bool(proxy.callers):
            raise ApiError("bad request body: whether a proxy has callers cannot change", 400)
        proxy.callers = callers or proxy.callers

    async def delete(self, name: str) -> None:
        async with self._lock:
            proxy = self.get(name)
            await proxy.remove()
            del self.proxies[name]

    async def reset(self) -> float:
        """Enable all and take out every toxic; returns the seconds until all are out."""
        left = 0.0
        async with self._lock:
            for proxy in list(self.proxies.values()):
                if not self.context.strict:
                    proxy.remove_all()  # a flapping one would go down again as it starts
                try:
                    await proxy.start()
                except AddressError as error:
                    raise ApiError(str(error), 500) from None
                left = max(left, proxy.remove_all())
        return left

    async def populate(self, body: bytes) -> tuple[list[Proxy], ApiError | None]:
        """Those made or found, and what stopped it."""
        try:
            value = gojson.decode(body)
            items = self._populate_items(value)
        except GoError as error:
            return [], _bad_body(error)
        except ApiError as error:
            return [], error
        done: list[Proxy] = []
        async with self._lock:
            for read in items:
                try:
                    done.append(await self._add_or_replace(read))
                except ApiError as error:
                    return done, error
                except AddressError as error:
                    return done, ApiError(str(error), 500)
        return done, None

    def _populate_items(self, value: Value) -> list[dict[str, object]]:
        if value is None:
            return []
        if not isinstance(value, list):
            kind = gojson.shown_kind(value)
            raise GoError(f"json: cannot unmarshal {kind} into Go value of type []{_POPULATE_ITEM}")
        items: list[dict[str, object]] = []
        failed: GoError | None = None
        for number, item in enumerate(value, 1):
            try:
                items.append(self._populate_item(item))
            except GoError as error:
                failed = failed or (error if self.context.strict else GoError(f"{error} at proxy {number}"))
        if failed is not None:
            raise failed
        for number, read in enumerate(items, 1):
            for name in ("name", "upstream"):
                if not read.get(name):
                    raise ApiError(f"missing required field: {name} at proxy {number}", 400)
            try:
                self._check_ours(read)
                self._toxics_of(read)
            except ApiError as error:
                raise ApiError(f"{error.message} at proxy {number} ({read['name']})", error.status) from None
        return items

    def _populate_item(self, item: Value) -> dict[str, object]:
        types = _PROXY | self._extra_fields()
        return gojson.fields(item, types, ".Proxy", _POPULATE_ITEM, owners={"enabled": ""})

    async def _add_or_replace(self, read: dict[str, object]) -> Proxy:
        existing = self.proxies.get(str(read["name"]))
        if existing is not None:
            if not await existing.differs(str(read.get("listen", "")), str(read["upstream"])):
                if toxics := self._toxics_of(read):
                    existing.remove_all()
                    for toxic in toxics:
                        existing.add_toxic(toxic)
                return existing
            await existing.stop()
        proxy = self._made(read)
        try:
            await self._started(proxy, read)
        finally:
            if existing is not None and proxy.enabled:
                await existing.remove()
        self.proxies[proxy.name] = proxy
        return proxy

    def _extra_fields(self) -> dict[str, str]:
        return {} if self.context.strict else _OURS

    def _proxy_fields(self, value: Value, name: str, whole: str) -> dict[str, object]:
        try:
            read = gojson.fields(value, _PROXY | self._extra_fields(), name, whole)
        except GoError as error:
            raise _bad_body(error) from None
        self._check_ours(read)
        return read

    def _check_ours(self, read: Mapping[str, object]) -> None:
        protocol = read.get("protocol", "tcp")
        if protocol not in _PROTOCOLS:
            raise ApiError(f"protocol was invalid, can be one of {', '.join(_PROTOCOLS)}", 400)
        if not isinstance(read.get("toxics", None), (list, type(None))):
            raise ApiError("bad request body: toxics must be an array", 400)
        _callers(read)
        if read.get("upstream") and not self.context.strict:
            try:
                port_of(split(str(read["upstream"]))[1])
            except AddressError as error:
                raise ApiError(f"bad request body: upstream: {error}", 400) from None

    def _made(self, read: Mapping[str, object]) -> Proxy:
        for name in ("name", "upstream"):
            if not read.get(name):
                raise ApiError(f"missing required field: {name}", 400)
        return Proxy(
            self.context,
            str(read["name"]),
            str(read.get("listen", "")),
            str(read["upstream"]),
            protocol=str(read.get("protocol", "tcp")),
            tapped=bool(read.get("tap", False)),
            callers=_callers(read),
            otherwise=str(read.get("otherwise", "")),
            doors=self.doors,
        )

    def _unmade(self, proxy: Proxy) -> None:
        if proxy.tap is not None:
            self.context.hub.taps.remove(proxy.tap)

    async def _started(self, proxy: Proxy, read: Mapping[str, object]) -> None:
        try:
            for toxic in self._toxics_of(read):
                proxy.add_toxic(toxic)
            if read.get("enabled", True):
                await proxy.start()
        except (ApiError, AddressError) as error:
            self._unmade(proxy)
            if isinstance(error, ApiError):
                raise
            raise ApiError(str(error), 500) from None

    # -- toxics

    def add_toxic(self, proxy: Proxy, body: bytes) -> Toxic:
        toxic = self._toxic_of(_read(body), proxy.name, [toxic.name for toxic in proxy.toxics])
        proxy.add_toxic(toxic)
        return toxic

    def _toxics_of(self, read: Mapping[str, object]) -> list[Toxic]:
        """Those that the description of a proxy names (ours alone takes any)."""
        given = read.get("toxics") or []
        assert isinstance(given, list)
        toxics: list[Toxic] = []
        for number, item in enumerate(given, 1):
            try:
                toxics.append(self._toxic_of(item, str(read["name"]), [toxic.name for toxic in toxics]))
            except ApiError as error:
                raise ApiError(f"{error.message} at toxic {number}", error.status) from None
        return toxics

    def _toxic_of(self, value: Value, proxy: str, taken: Sequence[str]) -> Toxic:
        """As it is described, for the proxy of that name whose toxics have `taken` theirs."""
        extra = {} if self.context.strict else {"ttl": "int64"}
        try:
            read = gojson.fields(value, _TOXIC | extra, "ToxicWrapper", "toxics.ToxicWrapper")
        except GoError as error:
            raise _bad_body(error) from None
        stream = str(read.get("stream", "downstream"))
        if stream.lower() not in ("upstream", "downstream"):
            raise ApiError("stream was invalid, can be either upstream or downstream", 400)
        type_ = str(read.get("type", ""))
        name = str(read.get("name", "")) or f"{type_}_{stream}"
        kind_of = self._kinds.get(type_)
        if kind_of is None:
            raise ApiError("invalid toxic type", 400)
        if name in taken:
            raise ApiError("toxic already exists", 409)
        toxic = Toxic(
            name=name,
            kind=kind_of,
            stream=stream,
            direction=UPSTREAM if stream.lower() == "upstream" else DOWNSTREAM,
            toxicity=_number(read.get("toxicity", 1.0)),
            attributes={key: attribute.default for key, attribute in kind_of.attributes.items()},
            seed=f"{self.context.seed}/{proxy}/{_RUN_PART.sub('', name)}",
        )
        if self.context.strict:
            toxic.attributes = dict.fromkeys(kind_of.attributes, 0)
        try:
            toxic.attributes |= _attributes(kind_of, read.get("attributes"))
        except GoError as error:
            raise _bad_body(error) from None
        if "ttl" in read:
            toxic.ttl = _number(read["ttl"]) / 1000
        self._check(toxic, toxic.attributes, toxic.toxicity)
        return toxic

    def change_toxic(self, proxy: Proxy, toxic: Toxic, body: bytes) -> None:
        types = {"attributes": f"toxics.{toxic.kind.go_name}", "toxicity": "float32"}
        nested = {"attributes": lambda given: _attributes(toxic.kind, given)}
        try:
            read = gojson.fields(_read(body), types, "", _UPDATE, nested=nested)
        except GoError as error:
            partial = error.partial.get("attributes")
            if self.context.strict and isinstance(partial, dict):
                toxic.attributes |= partial  # a real one has filled in what it could read before it failed
            raise _bad_body(error) from None
        attributes = read.get("attributes", {})
        assert isinstance(attributes, dict)
        toxicity = _number(read.get("toxicity", toxic.toxicity))
        self._check(toxic, toxic.attributes | attributes, toxicity)
        toxic.attributes |= attributes
        toxic.toxicity = toxicity
        proxy.update_toxic(toxic)

    def _check(self, toxic: Toxic, attributes: Mapping[str, object], toxicity: float) -> None:
        """Whether a toxic may have these."""
        if self.context.strict:
            return
        problem = toxic.kind.problem(attributes)
        if attributes.get("only_bodies") and toxic.direction == UPSTREAM:
            problem = "only_bodies is of answers: it needs the stream downstream"
        if not 0 <= toxicity <= 1:
            problem = f"toxicity must be between 0 and 1, not {toxicity:g}"
        if toxic.ttl is not None and toxic.ttl <= 0:
            problem = "ttl must be at least 1 (ms)"
        if problem:
            raise ApiError(f"bad request body: {problem}", 400)

    def find_toxic(self, proxy: Proxy, name: str) -> Toxic:
        toxic = proxy.find(name)
        if toxic is None:
            raise ApiError("toxic not found", 404)
        return toxic


def _callers(read: Mapping[str, object]) -> tuple[str, ...]:
    given = read.get("callers") or []
    if not isinstance(given, list) or not all(isinstance(each, str) and each and literal(each) for each in given):
        raise ApiError("bad request body: callers must be an array of IP addresses", 400)
    return tuple(given)


_UPDATE = 'struct { Attributes interface {} "json:\\"attributes\\""; Toxicity float32 "json:\\"toxicity\\"" }'


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _attributes(kind: Kind, given: object) -> dict[str, object]:
    """Raises GoError for the first of a wrong type, ApiError for one of ours."""
    types = {name: _GO_TYPES.get(attribute.kind, attribute.kind) for name, attribute in kind.attributes.items()}
    name = kind.go_name or kind.name
    read = gojson.fields(given, types, name, f"toxics.{name}", "attributes.")  # type: ignore[arg-type]  # out of JSON
    for key, value in read.items():
        wanted = kind.attributes[key].kind
        if wanted == "object" and not isinstance(value, dict):
            raise ApiError(f"bad request body: {key} must be an object", 400)
        if wanted == "number" and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ApiError(f"bad request body: {key} must be a number", 400)
    return read


_GO_TYPES = {"object": "any", "number": "any"}


def toxic_json(toxic: Toxic) -> dict[str, object]:
    shown: dict[str, object] = {
        "attributes": toxic.attributes,
        "name": toxic.name,
        "type": toxic.kind.name,
        "stream": toxic.stream,
        "toxicity": gojson.Raw(gojson.float32_text(toxic.toxicity)),
    }
    if toxic.ttl is not None:
        shown["ttl"] = round(toxic.ttl * 1000)
    return shown


def proxy_json(proxy: Proxy) -> dict[str, object]:
    return {
        "name": proxy.name,
        "listen": proxy.listen,
        "upstream": proxy.upstream,
        "enabled": proxy.enabled,
        "Logger": {},
        "toxics": [toxic_json(toxic) for toxic in proxy.in_order()],
    }


def proxies_json(proxies: Sequence[Proxy]) -> list[dict[str, object]] | None:
    """As Go prints a slice that may be nil."""
    return [proxy_json(proxy) for proxy in proxies] or None
