"""Files that `chaoskit load` takes: a load with the place where it goes, or an experiment's."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from chaoskit.document import read
from chaoskit.errors import FileError
from chaoskit.experiment import Step
from chaoskit.model.units import Duration
from chaoskit.studies.load import is_url
from chaoskit.traffic import LoadSpec
from chaoskit.wording import explain

__all__ = ["SHORTEST", "LoadFile", "read_load_file", "split_url"]

SHORTEST = 0.1
"""Seconds of the shortest load: one slot."""


class LoadFile(BaseModel):
    """A file that `chaoskit load` takes: where, what, how long, and its thresholds."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    title: str = ""
    url: str = ""
    target: str = ""
    deployer: str = "process"
    load: LoadSpec
    setup: tuple[Step, ...] = ()
    for_: Duration | None = Field(default=None, alias="for")
    warmup: Duration | None = None
    expect: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    """Hosts that it wants to load; the operator must name them too."""
    seed: int | None = None

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value and split_url(value).query:
            raise ValueError("expected a URL without a query: what is asked for stands in the requests' paths")
        return value

    @field_validator("for_")
    @classmethod
    def _lasts(cls, value: float | None) -> float | None:
        if value is not None and value < SHORTEST:
            raise ValueError("expected a load of at least 100ms")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> LoadFile:
        if bool(self.url) == bool(self.target):
            raise ValueError("expected url or target: where the load goes")
        given = self.model_fields_set
        if self.url and (unused := [key for key in ("deployer", "setup") if key in given]):
            raise ValueError(f"{' and '.join(unused)} go with a target: what a URL leads to is up already")
        return self


def read_load_file(where: str) -> LoadFile | None:
    """A load file or an experiment's load; nothing for a URL or a target's name. Raises FileError."""
    if is_url(where) or not where.endswith((".yaml", ".yml", ".json")):
        return None
    document = read(where)
    data = document.data
    if isinstance(data, dict) and ("hypotheses" in data or "phases" in data or "faults" in data):
        from chaoskit.reading import load

        experiment = load(Path(where))
        return LoadFile(
            title=experiment.title,
            target=experiment.target,
            deployer=experiment.deployer,
            load=experiment.load,
            setup=experiment.setup,
            warmup=experiment.phases.warmup,
            allow_hosts=experiment.allow_hosts,
            seed=experiment.seed,
        )
    try:
        return LoadFile.model_validate(data)
    except ValidationError as error:
        mistakes = explain(error, LoadFile, data)
        raise FileError([document.problem(one.path, one.message, one.hint, key=one.key) for one in mistakes]) from None


def split_url(url: str) -> SplitResult:
    """The parts of a URL that a load can go to. Raises ValueError."""
    expected = "expected a URL such as http://localhost:8000/"
    if not is_url(url):
        raise ValueError(f"{expected}, not {url!r}")
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").encode("idna"), parts.port
    except ValueError as error:  # a UnicodeError, too
        raise ValueError(f"{expected}: {error}") from None
    if not host:
        raise ValueError(f"{expected}: it names no host")
    if parts.username is not None:
        # A run keeps where its load went, and secrets are not kept.
        header = "Authorization: Basic ${env.BASIC_AUTH}"
        raise ValueError(f"expected a URL without a password: send it as a header, '{header}', out of the environment")
    return parts
