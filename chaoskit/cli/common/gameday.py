"""Game days from the commands' side: which one is meant, what is injected, and how one looks right now."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from chaoskit.cli.console import Line, Screen
from chaoskit.control import ask, standing
from chaoskit.document import read_text
from chaoskit.errors import FileError, UsageError
from chaoskit.model.undo import JSON
from chaoskit.model.units import duration_text
from chaoskit.studies.live import FaultNow, Status

__all__ = [
    "as_document",
    "chosen",
    "clock",
    "env_lines",
    "picture",
    "settings_of",
    "status_line",
    "status_of",
    "tell_faults",
]

_STATES = {"closed": "green", "open": "bold red", "half_open": "yellow"}


def chosen(run: str | None) -> str:
    """The game day that is meant: the only one, or the one whose id (or its beginning, or its target's name) `run` is.

    Raises UsageError where there is none, or several.
    """
    there = standing()
    if not there:
        raise UsageError("no game day is up", hint="chaoskit up TARGET puts one up")
    found = [one for one in there if run is None or one.startswith((run, f"gameday-{run}-"))]
    found = [run] if run in there else found
    if not found:
        raise UsageError(f"no game day {run!r} is up", hint=f"there are: {', '.join(there)}")
    if len(found) > 1:
        raise UsageError(f"{len(found)} game days are up: {', '.join(found)}", hint=f"name one: --run {found[0]}")
    return found[0]


def status_of(run: str) -> Status:
    return msgspec.convert(ask(run, {"op": "status"})["status"], Status)


def settings_of(words: Sequence[str], pairs: Sequence[str] = ()) -> dict[str, JSON]:
    """`--add 200ms --way=both` and `key=value` as settings, each value read as in an experiment's file.

    Raises UsageError.
    """
    found: dict[str, JSON] = {}
    for key, value in [*_flags(words), *(_pair(text) for text in pairs)]:
        name = key.replace("-", "_")
        if name in found:
            raise UsageError(f"{key} is given twice")
        try:
            found[name] = read_text(value, key).data if value else value
        except FileError as error:
            raise UsageError(f"{key}: {error.problems[0].message}") from None
    return found


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            raise UsageError(f"expected a setting such as --add 200ms, not {word!r}")
        key, equals, value = word[2:].partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "true"
        yield key, value


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"expected key=value, not {text!r}")
    return key.strip(), value.strip()


def env_lines(status: Status, service: str | None = None) -> list[str]:
    """`NAME=value` for every edge, as a shell reads them, under the name of the service that needs them."""
    if service is not None:
        names = [name for name in status.env if service in (name, name.partition(".")[0])]
        if not names:
            hint = f"there are: {', '.join(status.env) or 'none'}"
            raise UsageError(f"no service {service!r} of {status.target} needs another", hint=hint)
        return [f"{key}={shlex.quote(value)}" for name in names for key, value in status.env[name].items()]
    lines = ["# who calls the entry", f"CHAOSKIT_ENTRY_URL=http://{status.entry}"]
    for name, needs in status.env.items():
        lines.append(f"# {name}")
        lines += [f"{key}={shlex.quote(value)}" for key, value in needs.items()]
    return lines


# ----------------------------------------------------------------------------------------------------------- telling


def picture(status: Status) -> list[Line]:
    """A game day right now, in lines."""
    left = f"goes down by itself in {clock(status.left)}"
    rows: list[Line] = [
        ((status.title, "bold"), (f"  up for {clock(status.at)}, {left}  {status.run}", "dim")),
        (f"  entry    http://{status.entry}", (f"  {status.deployer}, proxy {status.proxy}", "dim")),
    ]
    if status.load is not None:
        load = status.load
        told = f"{load.rate:6.1f}/s  p50 {_time(load.p50):>8}  p95 {_time(load.p95):>8}"
        rows.append((f"  load     {told}  ", (f"errors {load.errors:.1%}", "red" if load.errors > 0.01 else "")))
    width = max((len(edge.edge) for edge in status.edges), default=0)
    broken = {place for fault in status.faults if fault.state == "in" for place in fault.on}
    for number, edge in enumerate(status.edges):
        told = f"{edge.rate:6.1f}/s  p50 {_time(edge.p50):>8}  p95 {_time(edge.p95):>8}"
        shut = "" if edge.listening else "  closed"
        style = "magenta" if edge.edge in broken or _service_edge(edge.edge) in broken else ""
        rows.append(
            (
                f"  {'edges' if not number else '':<9}",
                (edge.edge.ljust(width), style),
                f"  {told}  ",
                (f"errors {edge.errors:.1%}{shut}", "red" if edge.errors > 0.01 or shut else ""),
            )
        )
    sick = [check for check in status.checks if not check.ok]
    if status.checks:
        bad = ", ".join(f"{check.name}: {check.because}" for check in sick)
        rows.append(("  health   ", (bad, "red") if sick else (f"all {len(status.checks)} checks ok", "green")))
    if status.breakers:
        states = [(f"{edge}: {state}  ", _STATES.get(state, "")) for edge, state in status.breakers.items()]
        rows.append(("  breakers ", *states))
    rows += [("  faults   " if not n else "           ", *_fault(one, status.at)) for n, one in _last(status.faults)]
    return rows


def _last(faults: Sequence[FaultNow], most: int = 8) -> Iterator[tuple[int, FaultNow]]:
    """Those that are in, and the last of the others."""
    out = [fault for fault in faults if fault.state != "in"]
    kept = [fault for fault in faults if fault.state == "in" or fault in out[-most:]]
    return enumerate(kept)


def _fault(fault: FaultNow, now: float) -> Line:
    what = f"{fault.id}: {fault.says} on {', '.join(fault.on)}"
    if fault.state == "in":
        return ((what, "bold magenta"), f"  in, out in {max(fault.until - now, 0.0):.1f} s")
    if fault.state == "failed":
        return ((what, "red"), f"  {fault.error or 'may still be in place'}")
    lasted = f"{fault.until - fault.since:.1f} s" if fault.since is not None else "nothing"
    return ((what, "dim"), (f"  out after {lasted}", "dim"))


def tell_faults(screen: Screen, faults: Sequence[FaultNow], now: float | None = None) -> None:
    for fault in faults:
        screen.line(*_fault(fault, now if now is not None else fault.since or 0.0))


def status_line(status: Status) -> Line:
    """The same in one line, for logs."""
    parts = [f"{status.at:7.1f} s"]
    if status.load is not None:
        parts.append(f"{status.load.rate:.0f}/s  p95 {_time(status.load.p95)}  errors {status.load.errors:.1%}")
    else:
        front = [edge for edge in status.edges if edge.edge.startswith("load->")]
        parts += [f"{edge.edge} {edge.rate:.0f}/s  p95 {_time(edge.p95)}" for edge in front]
    parts += [f"breaker {edge}: {state}" for edge, state in status.breakers.items()]
    parts += [f"not ok: {check.name}" for check in status.checks if not check.ok]
    parts += [f"in: {fault.says} on {', '.join(fault.on)}" for fault in status.faults if fault.state == "in"]
    return ("  ".join(parts),)


def as_document(status: Status) -> Mapping[str, JSON]:
    """What `--json` prints."""
    found: Mapping[str, JSON] = msgspec.to_builtins(status)
    return found


def _service_edge(name: str) -> str:
    caller, _, callee = name.partition("->")
    return f"{caller.partition('.')[0]}->{callee.partition('.')[0]}"


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else duration_text(seconds)


def clock(seconds: float) -> str:
    """`42 s`, `12:05`, `1:00:00`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    spent = time.gmtime(round(seconds))
    hours = round(seconds) // 3600
    return f"{hours}:{spent.tm_min:02}:{spent.tm_sec:02}" if hours else f"{spent.tm_min}:{spent.tm_sec:02}"
