"""chaoskit new: write an experiment, a target, requests, or the demo."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaoskit.errors import FileError, UsageError

if TYPE_CHECKING:
    from chaoskit.cli.common.drafts import ServiceDraft
    from chaoskit.interfaces import Fault
    from chaoskit.target import Target

__all__ = ["command"]

_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@click.group()
def command() -> None:
    """Write an experiment, a target, requests, or the demo. What no flag says is asked for on a terminal."""


@command.command(short_help="Write the shop and its experiments into a folder.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--force", is_flag=True, help="Write over files that are there.")
def demo(folder: Path, force: bool) -> None:
    """Write the target `shop` and its six experiments into FOLDER (default: here)."""
    from importlib.util import find_spec

    from chaoskit.cli.common.demo import write_demo

    written = write_demo(folder, force=force)
    experiments = [path for path in written if path.parts[-2] == "experiments"]
    click.echo(f"wrote targets/shop and {len(experiments)} experiments into {folder}/")
    if any(find_spec(name) is None for name in ("starlette", "uvicorn", "asyncpg", "aiohttp")):
        click.echo("the shop's own parts are missing here: pip install 'chaoskit[lab]'")
    move = f"cd {folder} && " if folder != Path() else ""
    click.echo(f"next: {move}chaoskit run experiments/payments-black-holed.yaml")


@command.command(short_help="Write an experiment.")
@click.option("--title", help="The hypothesis as a sentence.")
@click.option("--target", help="Name of a folder in targets/, or the path of a target file.")
@click.option("--fault", "kind", help="Kind of the fault (chaoskit list faults).")
@click.option("--on", help="Edge or service that it acts on: orders->payments, payments.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the fault, such as add=200ms."
)
@click.option("--rate", help="Load, such as 20/s.")
@click.option(
    "--request", "requests", multiple=True, metavar="'METHOD PATH'", help="Such as 'GET /' (may be repeated)."
)
@click.option("--p95", help="Bound on the response time, such as 500ms.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def experiment(
    title: str | None,
    target: str | None,
    kind: str | None,
    on: str | None,
    settings: tuple[str, ...],
    rate: str | None,
    requests: tuple[str, ...],
    p95: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Write an experiment: load on a target, one fault, and what is claimed to hold."""
    from chaoskit.cli.common.drafts import ExperimentDraft
    from chaoskit.described import described
    from chaoskit.reading import load_target, targets_near
    from chaoskit.registry import find, kinds

    names = list(targets_near())
    if target is None and not names and not sys.stdin.isatty():
        raise UsageError("no target here", hint="chaoskit new target writes one, chaoskit new demo a whole demo")
    target = target or _asked("target", "Target", names, names[0] if len(names) == 1 else None)
    system = load_target(target)
    kind = kind or _asked("fault", "Fault", sorted(kinds("faults")), "latency")
    cls = find("faults", kind)
    places = _places(system, cls)
    on = on or _asked("on", f"{kind.capitalize()} on", places, places[-1] if places else None)
    given = dict(_pairs(settings))
    meanings = described(cls)
    for name, setting in cls.model_fields.items():
        key = setting.alias or name
        if setting.is_required() and key not in given and name != "on":
            about = meanings.get(name, key).partition(". ")[0].rstrip(".")
            given[key] = _asked(f"set {key}=…", f"{key} ({about})", [], _example(cls, name))
    if not given:  # of some settings only one is needed: the docs' own example has one
        for key, example in _documented(cls, on):
            about = meanings.get(key, key).partition(". ")[0].rstrip(".")
            given[key] = _asked(f"set {key}=…", f"{key} ({about})", [], example)
    chosen = list(requests) or [_asked("request", "Request", [], "GET /")]
    rate = rate or _asked("rate", "Rate", [], "20/s")
    p95 = p95 or _asked("p95", "p95 at most", [], "500ms")
    title = title or _asked("title", "Title", [], f"{system.name} stays usable under {kind} on {on}")
    fault = {"kind": kind, "on": on} | {key: _value(text) for key, text in given.items()}
    able = [name for name, deployer in kinds("deployers").items() if cls.needs <= deployer.can]
    deployer = "" if "process" in able or not able else able[0]
    draft = ExperimentDraft(title, target, rate, [_request(one) for one in chosen], fault, p95, deployer=deployer)
    from chaoskit.store import slug

    path = output or Path("experiments") / f"{slug(title)}.yaml"
    _write(path, draft.text(), force=force)


@command.command(short_help="Write a target for services of your own.")
@click.argument("name", required=False)
@click.option("--service", "services", multiple=True, metavar="NAME=COMMAND",
              help="A service and its command line, with {host} and {port} in it (may be repeated).")  # fmt: skip
@click.option("--url", "urls", multiple=True, metavar="NAME=URL", help="A service that runs already (may be repeated).")
@click.option("--real", "reals", multiple=True, metavar="NAME[=KIND]", help="A real server: postgres, redis, nats, …")
@click.option("--need", "needs", multiple=True, metavar="SERVICE:VARIABLE=VALUE",
              help="What a service needs, such as 'web:API_URL=http://{api}' (may be repeated).")  # fmt: skip
@click.option("--health", metavar="PATH", help="Readiness endpoint of the services.")
@click.option("--entry", help="The service that the load goes to (default: the first).")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def target(
    name: str | None,
    services: tuple[str, ...],
    urls: tuple[str, ...],
    reals: tuple[str, ...],
    needs: tuple[str, ...],
    health: str | None,
    entry: str | None,
    force: bool,
) -> None:
    """Write targets/NAME/target.yaml: your own services, how each is started or where it runs, what each needs."""
    from chaoskit.cli.common.drafts import TargetDraft

    name = name or _asked("name", "Name of the target", [], "mine")
    if not _FOLDER.fullmatch(name):
        raise UsageError(f"expected a name of letters, digits, dots, _ and - for a folder in targets/, not {name!r}")
    drafts = _services(services, urls, reals, needs, health)
    if not drafts:
        drafts = _asked_services()
    entry = entry or drafts[0].name
    _write(Path("targets") / name / "target.yaml", TargetDraft(name, entry, drafts).text(), force=force)


@command.command(short_help="Write requests from an OpenAPI document, a HAR file or a curl command.")
@click.option("--from-openapi", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--from-har", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--from-curl", metavar="COMMAND", help="`-` reads commands from standard input, one a line.")
def requests(from_openapi: Path | None, from_har: Path | None, from_curl: str | None) -> None:
    """Print requests for an experiment's load, from an OpenAPI document, a HAR file of a browser, or curl commands."""
    from chaoskit.cli.common.drafts import yaml_requests
    from chaoskit.load import importers

    given = [source for source in (from_openapi, from_har, from_curl) if source is not None]
    if len(given) != 1:
        raise UsageError("expected one of --from-openapi, --from-har and --from-curl")
    try:
        if from_openapi is not None:
            found = importers.from_openapi(_openapi(from_openapi))
        elif from_har is not None:
            found = importers.from_har(from_har.read_text(encoding="utf-8", errors="replace"))
        else:
            text = (sys.stdin.read() if from_curl == "-" else from_curl or "").replace("\\\n", " ")
            found = [importers.from_curl(line) for line in text.splitlines() if line.strip()]
    except FileError:
        raise  # it says where
    except UsageError as error:
        file = from_openapi or from_har
        raise UsageError(f"{file}: {error.message}" if file else error.message, hint=error.hint) from error
    if not found:
        raise UsageError("expected curl commands on standard input")
    click.echo("requests:\n" + yaml_requests(found, indent=2), nl=False)


# ------------------------------------------------------------------------------------------------------------ asking


def _asked(flag: str, question: str, options: Sequence[str], default: str | None) -> str:
    """What the user types; without a terminal the default, else a word about the flag that is missing."""
    if not sys.stdin.isatty():
        if default is not None:
            return default
        raise UsageError(f"expected --{flag}", hint=f"one of {', '.join(options)}" if options else "")
    if options:
        click.echo(f"  {', '.join(options)}")
    answer: str = click.prompt(question, default=default)
    return answer


def _asked_services() -> list[ServiceDraft]:
    from chaoskit.cli.common.drafts import ServiceDraft

    if not sys.stdin.isatty():
        raise UsageError("expected services", hint="--service 'web=uvicorn app:app --host {host} --port {port}'")
    click.echo(
        "One service after the other; an empty name ends. In commands and needs, {host}, {port} and {other} stand"
    )
    click.echo("for where it listens and where another service is.")
    found: list[ServiceDraft] = []
    while name := click.prompt("Service", default="", show_default=False):
        value = click.prompt("  command, or URL where it runs already, or postgres/redis/nats for a real one")
        how = "url" if "://" in value.split()[0] else "run" if " " in value or "/" in value else "provides"
        needs: dict[str, str] = {}
        while how == "run" and (need := click.prompt("  needs (API_URL=http://{api})", default="", show_default=False)):
            needs.update(_pairs([need]))
        health = "" if how == "provides" else click.prompt("  readiness path", default="/health", show_default=True)
        found.append(ServiceDraft(name, how, value, needs, health))
    if not found:
        raise UsageError("a target needs at least one service")
    return found


# ----------------------------------------------------------------------------------------------------------- reading


def _services(
    services: Sequence[str], urls: Sequence[str], reals: Sequence[str], needs: Sequence[str], health: str | None
) -> list[ServiceDraft]:
    from chaoskit.cli.common.drafts import ServiceDraft

    wanted: dict[str, dict[str, str]] = {}
    for need in needs:
        service, colon, rest = need.partition(":")
        if not colon:
            raise UsageError(f"expected SERVICE:VARIABLE=VALUE, not {need!r}")
        wanted.setdefault(service, {}).update(_pairs([rest]))
    found = [ServiceDraft(n, "run", v, wanted.pop(n, {}), health or "") for n, v in _pairs(services)]
    found += [ServiceDraft(n, "url", v, wanted.pop(n, {}), health or "") for n, v in _pairs(urls)]
    found += [
        ServiceDraft(n, "provides", v) for n, v in _pairs([one if "=" in one else f"{one}={one}" for one in reals])
    ]
    if wanted:
        raise UsageError(f"--need names no service of yours: {', '.join(wanted)}")
    return found


def _pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"expected NAME=VALUE, not {text!r}")
        pairs.append((key.strip(), value.strip()))
    return pairs


def _openapi(file: Path) -> object:
    """What is in an OpenAPI document. Those in JSON may be of any size."""
    import json

    from chaoskit.document import read

    if file.suffix != ".json":
        return read(file).data
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this is not valid JSON: {error}") from None


def _value(text: str) -> object:
    """A setting as YAML reads it: `503` is a number, `30%` a text."""
    from chaoskit.document import read_text

    return read_text(text, "setting").data if text else text


def _request(text: str) -> dict[str, object]:
    method, _, path = text.strip().partition(" ")
    if not path:
        method, path = "GET", method
    return {"method": method.upper(), "path": path.strip(), "timeout": "2s"}


def _places(system: Target, cls: type[Fault]) -> list[str]:
    """What a fault of this kind may act on."""
    if cls.acts_on == "services":
        return [name for name, spec in system.services.items() if not spec.url]
    topology = system.topology()
    names = dict.fromkeys(f"{edge.calling_service}->{edge.called_service}" for edge in topology.edges)
    return [name for name in names if not cls.model_construct(on=name).check(topology)]


def _example(cls: Any, name: str) -> str | None:
    """A default for a question: the kind's own example, from its schema."""
    schema = cls.model_json_schema()["properties"].get(name, {})
    examples = schema.get("examples", [])
    return str(examples[0]) if examples else None


def _documented(cls: type[Fault], on: str) -> list[tuple[str, str]]:
    """Settings of the first example in a kind's docs; none where it needs none."""
    from pydantic import ValidationError

    from chaoskit.document import read_text

    try:
        cls.model_validate({"on": on})
    except ValidationError:
        found = re.search(r"^\s*Example\s*\n\s*(\{.*\})", cls.__doc__ or "", re.MULTILINE)
        example = read_text(found[1], f"the example of {cls.kind}").data if found else None
        if isinstance(example, dict):
            return [(key, str(value)) for key, value in example.items() if key not in ("kind", "on")]
    return []


def _write(path: Path, text: str, *, force: bool) -> None:
    """Check a file as `chaoskit check` does, write it, and say where it is. Raises UsageError for one that is wrong."""
    from chaoskit.reading import problems_of

    if path.exists() and not force:
        raise UsageError(f"{path} is there already", hint="--force writes over it")
    if problems := problems_of(path, text):
        told = (replace(one, line=0, column=0) if one.file == str(path) else one for one in problems)  # it has no lines
        raise UsageError("\n".join(["this would be wrong, and was not written:", *map(str, told)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    click.echo(f"wrote {path}")
    what = "run" if path.name != "target.yaml" else "check"
    click.echo(f"next: chaoskit {what} {path}")
