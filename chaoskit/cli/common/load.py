"""What `chaoskit load` was asked for, from its flags and its file; and how it is watched and told."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from chaoskit.cli.common.load_file import SHORTEST, LoadFile, read_load_file, split_url
from chaoskit.cli.common.outcome import tell_run
from chaoskit.cli.common.progress import Progress
from chaoskit.cli.console import Line, Screen
from chaoskit.errors import UsageError
from chaoskit.interfaces import Address, Hypothesis
from chaoskit.model.history import History, Phase
from chaoskit.model.topology import Topology
from chaoskit.model.units import duration_text, parse_duration
from chaoskit.proxy.choice import chosen_toxiproxy
from chaoskit.recorder import Listener
from chaoskit.registry import find
from chaoskit.runner import Finished
from chaoskit.studies.capacity import Step
from chaoskit.studies.load import LoadAsked, check_host, here, is_url
from chaoskit.studies.thresholds import threshold
from chaoskit.traffic import LoadSpec, RequestSpec

__all__ = ["address", "asked_for", "load_beside", "tell_load", "tell_step", "watched"]

_TOKEN = "CHAOSKIT_LOAD_TOKEN"  # noqa: S105 - the name of the variable that holds it

_FLAGS = ("rate", "users", "paths", "ramp", "arrivals", "think", "timeout", "max_in_flight", "workers", "insecure",
          "headers", "method", "body", "locustfile")  # fmt: skip


def asked_for(where: str, given: Mapping[str, Any], *, command: Sequence[str]) -> LoadAsked:
    """All of it, checked. Raises UsageError or FileError."""
    file = read_load_file(where)
    near = Path(where).absolute() if file else None
    entry, path = _place(file, where, based=bool(given["paths"] or given["locustfile"]))
    allow = tuple(given["allow_hosts"])
    if file and (refused := set(file.allow_hosts) - set(allow)):
        hint = " ".join(f"--allow-host {host}" for host in sorted(refused))
        raise UsageError(f"the file wants to load {', '.join(sorted(refused))}, which you have not allowed", hint=hint)
    check_host(entry, allow)
    if given["most"] and not given["find_capacity"]:
        raise UsageError("--most goes with --find-capacity: it says where the search ends")
    spec = _spec(file.load if file else None, given, path)
    deployer = file.deployer if file else "process"
    find("deployers", deployer)
    default = "5s" if given["find_capacity"] else "30s"
    lasts = _time(given["lasts"], (file.for_ if file else None) or _stages(spec), default, "--for")
    if lasts < SHORTEST:
        raise UsageError("--for: expected at least 100ms")
    seeds = (given["seed"], file.seed if file else None, 1)
    return LoadAsked(
        where=entry,
        near=near,
        spec=spec,
        lasts=lasts,
        warmup=_time(given["warmup"], file.warmup if file else None, "0s", "--warmup"),
        thresholds=_thresholds([*(file.expect if file else ()), *given["expects"]], spec, given["judge"]),
        title=file.title if file else "",
        seed=next(seed for seed in seeds if seed is not None),
        store=given["store"],
        deployer=deployer,
        setup=file.setup if file else (),
        toxiproxy=chosen_toxiproxy(),
        allow_hosts=allow,
        root=near.parent if near else None,
        command=command,
        listen=_listening(given, entry),
        away=given["away"],
        token=os.environ.get(_TOKEN, "") if given["away"] else "",
    )


def load_beside(
    file: str | None, *, rate: str | None, users: int | None, paths: Sequence[str]
) -> tuple[LoadSpec | None, Path | None]:
    """The load of what stands for something else (a game day), and the folder of its files; None where none was asked
    for. Raises UsageError or FileError."""
    if not (file or rate or users or paths):
        return None, None
    found = read_load_file(file) if file else None
    root = Path(file).absolute().parent if file else None
    if file and found is None:
        raise UsageError(f"expected a load file or an experiment (.yaml, .yml or .json), not {file!r}")
    given = dict.fromkeys(_FLAGS) | {"rate": rate, "users": users, "paths": tuple(paths)}
    return _spec(found.load if found else None, given, ""), root


def address(text: str) -> Address:
    """HOST:PORT, the port one that something can listen on. Raises UsageError."""
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise UsageError(f"expected HOST:PORT, not {text!r}")
    return Address(host.strip("[]"), int(port))


def _place(file: LoadFile | None, where: str, *, based: bool) -> tuple[str, str]:
    """Where the load goes (a URL or a target's name), and the path that is asked for there.

    With `based`, or in a file, a URL's own path is what all paths begin with: the load says what is asked for.
    """
    place = (file.url or file.target) if file else where
    if file and not file.url:
        return place, ""
    if re.fullmatch(r"[^/\s:]+:[0-9]+(/.*)?", place):
        raise UsageError(f"expected a URL, a target or a file, not {place!r}", hint=f"http://{place}")
    if "://" not in place:
        return place, ""
    try:
        parts = split_url(place)
    except ValueError as error:
        raise UsageError(str(error)) from None
    origin = f"{parts.scheme}://{parts.netloc}"
    if based and parts.query:
        raise UsageError("expected a URL without a query beside --path or --locustfile")
    if file or based:
        return origin + parts.path.rstrip("/"), ""
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _stages(spec: LoadSpec) -> float | None:
    """How long the stages of a load last together, where it has some."""
    return sum(stage.for_ for stage in spec.stages) or None


def _thresholds(texts: Sequence[str], spec: LoadSpec, judge: str) -> tuple[Hypothesis, ...]:
    nowhere = Topology("", "", (), ())
    claims = []
    for text in texts:
        claims.append(threshold(text, judge=judge))
        for _, message in claims[-1].check(nowhere, spec.names):
            raise UsageError(f"in the threshold {text!r}: {message}")
    return tuple(claims)


def _listening(given: Mapping[str, Any], entry: str) -> Address | None:
    """Where workers from elsewhere join; nothing where there are none."""
    if not (given["away"] or given["listen"]):
        return None
    if not (given["away"] and given["listen"] and os.environ.get(_TOKEN)):
        raise UsageError(f"workers from elsewhere need --away N, --listen HOST:PORT and a token in {_TOKEN}")
    listen = address(given["listen"])
    if not here(listen.host) and (not is_url(entry) or here(urlsplit(entry).hostname or "")):
        what = entry if is_url(entry) else f"target {entry}, which is put up on this machine"
        hint = "give a URL that leads here from them too (with --allow-host)"
        raise UsageError(f"workers on other machines cannot reach {what}", hint=hint)
    return listen


def _spec(base: LoadSpec | None, given: Mapping[str, Any], path: str) -> LoadSpec:
    """The file's load with what the flags say instead; without a file, one made of flags."""
    fields: dict[str, Any] = {}
    what = [flag for key, flag in (("paths", "--path"), ("method", "--method"), ("body", "--body")) if given[key]]
    what += ["--locustfile"] if given["locustfile"] and base is not None else []
    if what and (base is not None or given["locustfile"]):
        whose = "file" if base is not None else "locustfile"
        raise UsageError(f"the {whose} says what is sent: leave out {' and '.join(what)}")
    if base is not None:
        fields = {LoadSpec.model_fields[name].alias or name: getattr(base, name) for name in base.model_fields_set}
    elif given["locustfile"]:
        fields["locustfile"] = str(Path(given["locustfile"]).absolute())
        fields["users"] = given["users"] or 10
    else:
        fields["requests"] = [_request(given, each) for each in (given["paths"] or (path or "/",))]
    if given["rate"] and given["users"]:
        raise UsageError("expected --rate (open) or --users (closed), not both")
    if given["rate"] or given["users"]:
        for key in ("rate", "users", "stages"):
            fields.pop(key, None)
    for flag, key in (("rate", "rate"), ("users", "users"), ("ramp", "ramp"), ("arrivals", "arrivals"),
                      ("think", "think"), ("timeout", "timeout"), ("max_in_flight", "max_in_flight"),
                      ("workers", "workers")):  # fmt: skip
        if given[flag] is not None:
            fields[key] = given[flag]
    if given["timeout"] is not None and base is not None:
        fields["requests"] = [_untimed(each) for each in base.requests]
    if given["insecure"]:
        fields["verify_tls"] = False
    if base is None and not fields.keys() & {"rate", "users"}:
        fields["rate"] = "50/s"
    if given["headers"]:
        fields["headers"] = dict(fields.get("headers", {})) | dict(_header(line) for line in given["headers"])
    try:
        return LoadSpec.model_validate(fields)
    except ValidationError as error:
        told = [
            f"{'.'.join(str(each) for each in one['loc'])}: " * bool(one["loc"]) + one["msg"] for one in error.errors()
        ]
        raise UsageError("\n".join(text.replace("Value error, ", "") for text in told)) from None


def _untimed(request: RequestSpec) -> RequestSpec:
    """A request without timeouts of its own, those of its steps included."""
    return request.model_copy(update={"timeout": None, "then": tuple(_untimed(step) for step in request.then)})


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise UsageError(f"expected a header such as 'Accept: text/html', not {line!r}")
    return name.strip(), value.strip()


def _request(given: Mapping[str, Any], path: str) -> dict[str, Any]:
    request: dict[str, Any] = {"path": path, "method": given["method"] or ("POST" if given["body"] else "GET")}
    if given["body"]:
        request["body"] = given["body"]
        try:
            parsed = json.loads(given["body"])
        except ValueError:
            return request
        if isinstance(parsed, dict | list):
            return {**{key: value for key, value in request.items() if key != "body"}, "json": parsed}
    return request


def _time(flag: str | None, file: float | None, default: str, name: str) -> float:
    """Seconds, in whole slots."""
    if flag is None and file is not None:
        return round(file, 1)
    try:
        return round(parse_duration(flag or default), 1)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


# ------------------------------------------------------------------------------------------------------------- telling


@contextmanager
def watched(screen: Screen, asked: LoadAsked) -> Iterator[Listener]:
    """A listener whose picture is kept on the terminal while the load runs."""

    def tell(line: Line) -> None:
        screen.line(*line)

    title = asked.title or f"Load on {asked.where}"
    screen.line((title, "bold"), (f"  seed {asked.seed}", "dim"))
    progress = Progress(title, [("load", asked.warmup, asked.warmup + asked.lasts)], tell)
    with screen.live(progress.lines):
        yield progress


def tell_load(screen: Screen, finished: Finished) -> None:
    """The table of requests, then the verdict and why."""
    _table(screen, finished.history)
    tell_run(screen, finished.run)


def _table(screen: Screen, history: History) -> None:
    view = history.during(Phase.LOAD)
    everything = view.load()
    if not everything.requests:
        return
    names = sorted({slot.name for _, slot in everything.entries})
    rows: list[tuple[str, ...]] = [("request", "sent", "failed", "rate", "p50", "p90", "p95", "p99", "send lag p99")]
    for name in [*names, ""] if len(names) > 1 else names:
        part = view.load(name) if name else everything
        times = [duration_text(part.percentile(q)) for q in (0.5, 0.9, 0.95, 0.99)]
        lag = duration_text(part.percentile(0.99, of="send_lag"))
        rows.append((name or "all", str(part.requests), f"{part.error_rate:.2%}", f"{part.rate:.1f}/s", *times, lag))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [text.ljust(width) if place == 0 else text.rjust(width)
                 for place, (text, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        screen.line(("  ".join(cells), "dim" if number == 0 else ""), indent=2)
    for cause, count in everything.causes.most_common(8):
        screen.line((f"{count} × {cause}", "red"), indent=4)


def tell_step(screen: Screen, step: Step) -> None:
    """One step of the search for the capacity, as it ends."""
    mark, style = ("✓", "green") if step.held else ("✗", "red")
    told = f"{step.rate:9.1f}/s  answered {step.answered:9.1f}/s  p95 {duration_text(step.p95):>9}"
    screen.line(
        (f"{mark} ", style), f"{told}  errors {step.error_rate:.2%}", ("" if step.held else f"  {step.because}", "dim")
    )
