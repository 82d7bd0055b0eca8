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
from chaoskit.target import ServiceSpec, Target, is_service_name, place_of
from chaoskit.wording import Mistake, did_you_mean

__all__ = ["check_target"]

_LOOKS_LIKE_A_REFERENCE = re.compile(r"\{[A-Za-z0-9_.:-]*\}")
_REFERENCE = re.compile(r"\{[a-z][a-z0-9_-]*(\.[0-9]+)?(:all)?\}")
_PLACES = ("host", "port")
_LOOKS_LIKE_A_PLACE = re.compile(r"(?<![$\w{])\{([A-Za-z]+)\}(?!\})")  # not the ${VARIABLE} of a shell


def check_target(target: Target, *, doubtful: Collection[str] = ()) -> list[Mistake]:
    """All that does not fit together in a target. `doubtful` are services of which a part could not be read."""
    found = []
    for place, message in target.mistakes(doubtful):
        what, _, hint = message.partition("; ")
        if what.startswith("no service "):
            hint = did_you_mean(what.split("'")[1], target.services)
        found.append(Mistake(tuple(place), what, hint))
    for name, service in target.services.items():
        where: Path_ = ("services", name)
        if not is_service_name(name):
            what = f"expected a service name of small letters, digits, - and _, not {name!r}"
            found.append(Mistake(where, what, key=True))
        found += [mistake.below(where) for mistake in _start(service, sure=name not in doubtful)]
        found += [mistake.below(where) for mistake in (*_needs(service), *_paths(service))]
    return found


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


def _needs(service: ServiceSpec) -> Iterator[Mistake]:
    for variable, text in service.needs.items():
        path: Path_ = ("needs", variable)
        odd = [one for one in _LOOKS_LIKE_A_REFERENCE.findall(text) if not _REFERENCE.fullmatch(one)]
        for one in odd:
            yield Mistake(path, f"expected a reference such as {{orders}}, {{orders.1}} or {{orders:all}}, not {one}")
        if not _REFERENCE.search(text) and not odd:
            yield Mistake(path, "names no service: every need is an edge", "a plain value belongs in env")


def _paths(service: ServiceSpec) -> Iterator[Mistake]:
    """Paths of its endpoints."""
    for key, value in (
        ("health", service.health.ready),
        ("health", service.health.live),
        ("metrics", service.metrics),
    ):
        if value and not value.startswith("/"):
            yield Mistake((key,), f"expected a path that starts with /, not {value!r}")
