"""Texts of new experiment and target files: complete, commented, and ready to run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["ExperimentDraft", "ServiceDraft", "TargetDraft", "scalar", "yaml_requests"]

_PLAIN = re.compile(
    r"[A-Za-z/+][A-Za-z0-9_./@%+>-]*( ?[A-Za-z0-9_./@%+>-]+)*|[0-9]+(\.[0-9]+)?(us|ms|s|m|h|%|/s|/m|KB|MB)"
)
_WORDS = {"null", "true", "false", "~", "Null", "NULL", "True", "TRUE", "False", "FALSE"}


def scalar(value: object) -> str:
    """A value as YAML writes it on one line; texts are quoted where they would read as something else."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value not in _WORDS:
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {scalar(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(scalar(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def yaml_requests(requests: Sequence[Mapping[str, object]], indent: int = 4) -> str:
    """Requests as items of a list, one a line."""
    return "".join(f"{' ' * indent}- {scalar(dict(request))}\n" for request in requests)


@dataclass(frozen=True)
class ExperimentDraft:
    """What an experiment needs to be written."""

    title: str
    target: str
    rate: str
    requests: Sequence[Mapping[str, object]]
    fault: Mapping[str, object]
    """`kind`, `on` and the kind's own keys."""
    p95: str = "500ms"
    errors: str = "2%"
    deployer: str = ""
    """Where the usual one cannot do what the fault needs."""

    def text(self) -> str:
        places = self.fault["on"] if isinstance(self.fault["on"], list) else [self.fault["on"]]
        return f"""\
title: {scalar(self.title)}
target: {scalar(self.target)}
{f"deployer: {self.deployer}{chr(10)}" if self.deployer else ""}\
load:
  rate: {self.rate}                  # open: arrivals do not wait for answers; `users: 40` would be closed
  requests:
{yaml_requests(self.requests)}\
phases: {{warmup: 2s, baseline: 8s, fault: 10s, recovery: 8s}}
blast_radius: {scalar(list(places))}            # nothing else may be touched
steady_state:                # what must hold in baseline; otherwise the run cannot tell
  - {{kind: error_rate, max: {self.errors}}}
  - {{kind: latency, p95: {self.p95}}}
faults:
  - {scalar(dict(self.fault))}
hypotheses:                  # what you claim: each is judged while the fault is in
  - {{kind: error_rate, max: {self.errors}}}
  - {{kind: latency, p95: {self.p95}}}
  - {{kind: recovery, within: 5s}}
"""


@dataclass(frozen=True)
class ServiceDraft:
    """One service: how it is started (`run`, `url` or `provides`), and what it needs."""

    name: str
    how: str
    value: str
    needs: Mapping[str, str] = field(default_factory=dict)
    health: str = ""

    def text(self) -> str:
        lines = [f"  {self.name}:", f"    {self.how}: {json.dumps(self.value, ensure_ascii=False)}"]
        if self.needs:
            lines.append("    needs:                   # each is an edge, and every edge goes through a proxy")
            lines += [f"      {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in self.needs.items()]
        if self.health:
            lines.append(f"    health: {scalar(self.health)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class TargetDraft:
    """What a target needs to be written."""

    name: str
    entry: str
    services: Sequence[ServiceDraft]
    description: str = ""

    def text(self) -> str:
        about = f"description: {scalar(self.description)}\n" if self.description else ""
        services = "\n".join(service.text() for service in self.services)
        entry = f"entry: {self.entry}                # the load goes here\n"
        return f"name: {scalar(self.name)}\n{about}{entry}services:\n{services}\n"
