"""What `chaoskit load` was asked for, from its flags and its file; and how it is watched and told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chaoskit.cli.common.outcome import tell_run
from chaoskit.cli.common.progress import Progress
from chaoskit.cli.console import Line, Screen
from chaoskit.document import read
from chaoskit.errors import FileError, UsageError
from chaoskit.interfaces import Address
from chaoskit.model.history import History, Phase
from chaoskit.model.units import Duration, duration_text, parse_duration
from chaoskit.proxy.choice import chosen_toxiproxy
from chaoskit.recorder import Listener
from chaoskit.runner import Finished
from chaoskit.studies.capacity import Step
from chaoskit.studies.load import LoadAsked, check_host, is_url
from chaoskit.studies.thresholds import threshold
from chaoskit.traffic import LoadSpec
from chaoskit.wording import explain

__all__ = ["LoadFile", "asked_for", "load_beside", "tell_load", "tell_step", "watched"]

_TOKEN = "CHAOSKIT_LOAD_TOKEN"  # noqa: S105 - the name of the variable that holds it


_FLAGS = ("rate", "users", "paths", "ramp", "arrivals", "think", "timeout", "max_in_flight", "workers", "insecure",
          "headers", "method", "body", "locustfile")  # fmt: skip


class LoadFile(BaseModel):
    """A file that `chaoskit load` takes: where, what, how long, and its thresholds."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    title: str = ""
    url: str = ""
    target: str = ""
    load: LoadSpec
    for_: Duration | None = Field(default=None, alias="for")
    warmup: Duration | None = None
    expect: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    """Hosts that it wants to load; the operator must name them too."""
    seed: int | None = None

    @model_validator(mode="after")
    def _one_place(self) -> LoadFile:
        if bool(self.url) == bool(self.target):
            raise ValueError("expected url or target: where the load goes")
        return self


def asked_for(where: str, given: Mapping[str, Any], *, command: Sequence[str]) -> LoadAsked:
    """All of it, checked. Raises UsageError or FileError."""
    file, root = _file(where)
    place = (file.url or file.target) if file else where
    entry, path = _split(place)
    allow = tuple(given["allow_hosts"])
    if file and (refused := set(file.allow_hosts) - set(allow)):
        hint = " ".join(f"--allow-host {host}" for host in sorted(refused))
        raise UsageError(f"the file wants to load {', '.join(sorted(refused))}, which you have not allowed", hint=hint)
    check_host(entry, allow)
    default = "5s" if given["find_capacity"] else "30s"
    expects = [*(file.expect if file else ()), *given["expects"]]
    listen = None
    if given["away"] or given["listen"]:
        if not (given["away"] and given["listen"] and os.environ.get(_TOKEN)):
            raise UsageError(f"workers from elsewhere need --away N, --listen HOST:PORT and a token in {_TOKEN}")
        listen = _address(given["listen"])
    return LoadAsked(
        where=entry,
        spec=_spec(file.load if file else None, given, path),
        lasts=_time(given["lasts"], file.for_ if file else None, default, "--for"),
        warmup=_time(
            given["warmup"] if given["warmup"] != "0s" else None, file.warmup if file else None, "0s", "--warmup"
        ),
        thresholds=tuple(threshold(text, judge=given["judge"]) for text in expects),
        title=file.title if file else "",
        seed=file.seed if file and file.seed is not None and given["seed"] == 1 else given["seed"],
        store=given["store"],
        toxiproxy=chosen_toxiproxy(),
        allow_hosts=allow,
        root=root,
        command=command,
        listen=listen,
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
    found, root = _file(file) if file else (None, None)
    if file and found is None:
        raise UsageError(f"expected a load file or an experiment (.yaml, .yml or .json), not {file!r}")
    given = dict.fromkeys(_FLAGS) | {"rate": rate, "users": users, "paths": tuple(paths)}
    return _spec(found.load if found else None, given, ""), root


def _file(where: str) -> tuple[LoadFile | None, Path | None]:
    """A load file or an experiment's load; nothing for a URL or a target's name."""
    if is_url(where) or not where.endswith((".yaml", ".yml", ".json")):
        return None, None
    document = read(where)
    data = document.data
    if isinstance(data, dict) and ("hypotheses" in data or "phases" in data or "faults" in data):
        from chaoskit.reading import load

        experiment = load(where)
        file = experiment.file.parent if experiment.file else None
        return LoadFile(title=experiment.title, target=experiment.target, load=experiment.load), file
    try:
        return LoadFile.model_validate(data), Path(where).absolute().parent
    except ValidationError as error:
        mistakes = explain(error, LoadFile, data)
        raise FileError([document.problem(one.path, one.message, one.hint, key=one.key) for one in mistakes]) from None


def _split(place: str) -> tuple[str, str]:
    """A URL's origin and the path that is asked for; a target's name and nothing."""
    if not is_url(place):
        return place, ""
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc}", (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _spec(base: LoadSpec | None, given: Mapping[str, Any], path: str) -> LoadSpec:
    """The file's load with what the flags say instead; without a file, one made of flags."""
    fields: dict[str, Any] = {}
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
        fields["requests"] = [each.model_copy(update={"timeout": None}) for each in base.requests]
    if given["insecure"]:
        fields["verify_tls"] = False
    if base is None and not fields.keys() & {"rate", "users"}:
        fields["rate"] = "50/s"
    if given["headers"]:
        pairs = [line.partition(":") for line in given["headers"]]
        fields["headers"] = dict(fields.get("headers", {})) | {name.strip(): value.strip() for name, _, value in pairs}
    try:
        return LoadSpec.model_validate(fields)
    except ValidationError as error:
        told = [
            f"{'.'.join(str(each) for each in one['loc'])}: " * bool(one["loc"]) + one["msg"] for one in error.errors()
        ]
        raise UsageError("\n".join(text.replace("Value error, ", "") for text in told)) from None


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
    if flag is None and file is not None:
        return file
    try:
        seconds = round(parse_duration(flag or default), 1)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
    return seconds


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise UsageError(f"expected HOST:PORT, not {text!r}")
    return Address(host.strip("[]"), int(port))


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
