"""What can be known to be wrong with a target before anything of it starts: names, needs, commands, addresses.

Pure functions of a target. Paths are those of the file, so that `reading` can say the line.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Collection, Iterator

from chaoskit.document import Path_
from chaoskit.registry import kinds
from chaoskit.target import WAYS, Need, ServiceSpec, Target, is_service_name, place_of
from chaoskit.wording import Mistake, did_you_mean

__all__ = ["check_target"]

_LOOKS_LIKE_A_REFERENCE = re.compile(r"\{[A-Za-z0-9_.:-]*\}")
_REFERENCE = re.compile(r"\{[a-z][a-z0-9_-]*(\.[0-9]+)?(:all)?\}")
_EVERY = re.compile(r"\{([a-z][a-z0-9_-]*):all\}")
_PLACES = ("host", "port")
_LOOKS_LIKE_A_PLACE = re.compile(r"(?<![$\w{])\{([A-Za-z]+)\}(?!\})")  # not the ${VARIABLE} of a shell


def check_target(target: Target, *, doubtful: Collection[str] = ()) -> list[Mistake]:
    """All that does not fit together in a target. `doubtful` are services of which a part could not be read: nothing is
    said that may come of that."""
    found = []
    if target.entry not in target.services:
        found.append(_no_service(("entry",), target.entry, target))
    if target.adopt is not None and not target.adopt.compose:
        hint = "services name containers and labels"
        found.append(Mistake(("adopt",), "expected compose: a whole project", hint))
    for name, service in target.services.items():
        sure = name not in doubtful
        if not is_service_name(name):
            what = f"expected a service name of small letters, digits, - and _, not {name!r}"
            found.append(Mistake(("services", name), what, key=True))
        mistakes = (
            *_ways(target, name, sure=sure),
            *_start(service, sure=sure),
            *_paths(service),
            *_needs(target, service, doubtful),
            *_proxies(target, name, sure=sure),
        )
        found += [mistake.below(("services", name)) for mistake in mistakes]
    return found


def _no_service(path: Path_, name: str, target: Target) -> Mistake:
    return Mistake(path, f"no service {name!r}", did_you_mean(name, target.services))


def _ways(target: Target, name: str, *, sure: bool) -> Iterator[Mistake]:
    """A service is put up in one way. `sure` says that all of it could be read."""
    service = target.services[name]
    ways = [key for key in WAYS if getattr(service, key)]
    if not target.ways(name) and sure:
        yield Mistake((), f"expected one of {', '.join(WAYS)}, adopt")
    if len(ways) > 1 and set(ways) - {"run", "image", "build"}:
        yield Mistake((), f"expected one of {', '.join(WAYS)}, not {' and '.join(ways)}")
    if service.adopt and service.url:
        yield Mistake((), "expected url or adopt, not both: a container of its own or an address")
    adopted = target.adopted(name)
    if adopted is not None and not (adopted.compose or adopted.container or adopted.label):
        yield Mistake(("adopt",), "expected one of compose, container, label")
    if service.provides and service.replicas > 1:
        yield Mistake(("replicas",), "a real server has one replica")


def _start(service: ServiceSpec, *, sure: bool) -> Iterator[Mistake]:
    """What keeps a service from being started, or found. `sure` says that all of it could be read."""
    backing = kinds("backing")
    if service.provides and service.provides not in backing:
        hint = did_you_mean(service.provides, backing)
        yield Mistake(("provides",), f"no real server of kind {service.provides!r}", hint)
    if service.url:
        try:
            place_of(service.url)
        except ValueError as error:
            what, _, hint = str(error).partition("; ")
            yield Mistake(("url",), f"{service.url!r} {what}", hint)
    if service.run:
        yield from _command(service, sure=sure)


def _command(service: ServiceSpec, *, sure: bool) -> Iterator[Mistake]:
    """What is wrong with its `run`."""
    try:
        words = shlex.split(service.run)
    except ValueError as error:
        yield Mistake(("run",), f"is not a command line: {str(error)[:1].lower()}{str(error)[1:]}")
        return
    if not words:
        yield Mistake(("run",), "expected a command line, not blanks")
        return
    misspelt = False
    for word in _LOOKS_LIKE_A_PLACE.findall(service.run):
        close = difflib.get_close_matches(word.lower(), _PLACES, n=1, cutoff=0.7)
        if word not in _PLACES and close:
            misspelt = True
            yield Mistake(("run",), f"nothing takes the place of {{{word}}}", f"did you mean {{{close[0]}}}?")
    told = any("{port}" in text for text in (service.run, *service.env.values()))
    inside = service.port is not None  # a container's own port may be fixed
    if sure and not (told or misspelt or inside):
        what = "expected {port} in it: where the service must listen"
        yield Mistake(("run",), what, 'or in env, for one that reads it there: {PORT: "{port}"}')


def _needs(target: Target, service: ServiceSpec, doubtful: Collection[str]) -> Iterator[Mistake]:
    """Each need names what is there, and says one thing."""
    for need in service.references():
        path: Path_ = ("needs", need.variable)
        other = target.services.get(need.service)
        if other is None:
            yield _no_service(path, need.service, target)
        elif need.replica not in (None, *range(1, other.replicas + 1)) and need.service not in doubtful:
            yield Mistake(path, f"{need.service} has {other.replicas} replicas, counted from 1")
    for variable, text in service.needs.items():
        path = ("needs", variable)
        odd = [one for one in _LOOKS_LIKE_A_REFERENCE.findall(text) if not _REFERENCE.fullmatch(one)]
        for one in odd:
            yield Mistake(path, f"expected a reference such as {{orders}}, {{orders.1}} or {{orders:all}}, not {one}")
        if not _REFERENCE.search(text) and not odd:
            yield Mistake(path, "names no service: every need is an edge", "a plain value belongs in env")
        for part in text.split(","):
            every = list(dict.fromkeys(_EVERY.findall(part)))
            if len(every) > 1:
                what = f"names all of {' and all of '.join(every)} in one"
                yield Mistake(path, what, "separate them by a comma, or have a variable for each")
    yield from _protocols(target, service)


def _protocols(target: Target, service: ServiceSpec) -> Iterator[Mistake]:
    """Two needs of one service are one edge, which carries one thing."""
    first: dict[str, Need] = {}
    for need in service.references():
        if not need.protocol or need.service not in target.services or target.services[need.service].protocol:
            continue
        before = first.setdefault(need.service, need)
        if before.protocol != need.protocol:
            what = f"says {need.protocol} of {need.service}, where {before.variable} says {before.protocol}"
            yield Mistake(("needs", need.variable), what, f"`protocol` of {need.service} says what its edges carry")


def _proxies(target: Target, name: str, *, sure: bool) -> Iterator[Mistake]:
    """On each port that a proxy is given listens one, and only one."""
    service, called = target.services[name], target.called(name)
    for key, port in service.proxies.items():
        path: Path_ = ("proxies", key)
        meant = [callee for callee in called if key in (callee, callee.partition(".")[0])]
        if not meant and sure:
            yield Mistake(path, f"{name} needs no {key!r}", did_you_mean(key, called), key=True)
        if len(meant) > 1:
            yield Mistake(path, f"expected a port for each of {', '.join(meant)}", key=True)
        if meant and service.replicas > 1:
            yield Mistake(path, f"each of the {service.replicas} replicas of {name} has proxies of its own", key=True)
        users = [(caller, one) for caller, other in target.services.items() for one in other.proxies.items()]
        first = next((caller, callee) for caller, (callee, taken) in users if taken == port)
        if first != (name, key):
            yield Mistake(path, f"port {port} is taken by the proxy on {'->'.join(first)}")


def _paths(service: ServiceSpec) -> Iterator[Mistake]:
    """Paths of its endpoints."""
    for key, value in (
        ("health", service.health.ready),
        ("health", service.health.live),
        ("metrics", service.metrics),
    ):
        if value and not value.startswith("/"):
            yield Mistake((key,), f"expected a path that starts with /, not {value!r}")
