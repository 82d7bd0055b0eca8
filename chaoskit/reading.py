"""Files into an Experiment or a Target, or every problem of a file at once, each with its line and column.

load(path)          ─► Experiment      kinds → classes → fields → names, blast radius, samples
load_target(name)   ─► Target
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from chaoskit.checks import check
from chaoskit.document import Data, Document, Path_, read, read_text
from chaoskit.errors import FileError, Problem, UsageError
from chaoskit.experiment import Experiment, Phases
from chaoskit.interfaces import Fault
from chaoskit.model.credentials import text_without_secrets
from chaoskit.registry import FOLDERS, kinds
from chaoskit.target import Target
from chaoskit.target_checks import check_target
from chaoskit.wording import Mistake, did_you_mean, explain, keys_of, shown

__all__ = ["LISTS", "find_target", "is_target", "load", "load_target", "problems_of", "read_fault", "targets_near"]

LISTS = {"steady_state": "hypotheses", "faults": "faults", "probes": "probes", "hypotheses": "hypotheses"}
"""Lists of an experiment whose items are of kinds, and the folder of those."""

_WRITTEN = {"written": True}
_SAID: tuple[Path_, ...] = ((), ("kind",), ("on",))
"""Places of a single fault that a message names by itself."""
_NAMES = ("target.yaml", "target.yml", "target.json")
_SUFFIXES = (".yaml", ".yml", ".json")
_STAND_INS: dict[str, Data] = {
    "title": "-",
    "target": "-",
    "load": {"rate": "1/s", "requests": [{"path": "/"}]},
}
"""For required keys that cannot be read, so that the rest of the file can be checked."""


def load(path: Path | str, *, deployer: str | None = None) -> Experiment:
    """Read an experiment. Raises FileError with all that is wrong in it and in its target.

    `deployer` takes the place of the file's before anything is checked. Raises UsageError where there is none such.
    """
    _known(deployer)
    document = read(path)
    if is_target(document):
        message = "this is a target; expected an experiment"
        raise FileError([document.problem((), message, f"chaoskit check {path} checks it")])
    return _ExperimentReading(document, deployer).experiment()


def _known(deployer: str | None) -> None:
    known = kinds("deployers")
    if deployer is not None and deployer not in known:
        hint = did_you_mean(deployer, known) or f"there are: {', '.join(known)}"
        raise UsageError(f"no deployer of kind {deployer!r}", hint=hint)


def load_target(name: str, near: Path | str | None = None) -> Target:
    """Read a target by its name (a folder in `targets/` beside or above `near`, or the working directory) or its path.

    Raises FileError with all that is wrong in it, UsageError where there is none.
    """
    file = find_target(name, near)
    return _target(read(_as_named(file)), file)


def problems_of(path: Path | str, text: str | None = None) -> Sequence[Problem]:
    """All that is wrong in an experiment or target file, or would be with `text` in it; empty where nothing is."""
    try:
        document = read(path) if text is None else read_text(text, str(path))
        if is_target(document):
            _target(document, Path(path))
        else:
            _ExperimentReading(document).experiment()
    except FileError as error:
        return error.problems
    return ()


def read_fault(
    written: Mapping[str, Any], target: Target, *, deployer: str, lasts: float, blast_radius: Sequence[str] = ()
) -> Fault:
    """One fault that is put in by hand for `lasts` seconds, as an experiment would have it (`kind`, `on`, …).

    Raises UsageError with all that is wrong with it or does not fit the target, the deployer or the blast radius.
    """
    try:
        fault = _item("faults", dict(written))
    except _Wrong as error:
        raise _refused(error.mistakes) from None
    assert isinstance(fault, Fault), "it was read as one"
    question = Experiment.model_validate(
        {
            **_STAND_INS,
            "phases": Phases(fault=lasts),
            "deployer": deployer,
            "faults": (fault,),
            "blast_radius": tuple(blast_radius) or fault.places,
        }
    )
    mistakes = [one._replace(path=one.path[2:]) for one in check(question, target) if one.path[0] == "faults"]
    if mistakes:
        raise _refused(mistakes)
    return fault


def _refused(mistakes: Sequence[Mistake]) -> UsageError:
    """What is wrong with something that is in no file, as one error."""
    lines = [f"{'.'.join(map(str, one.path))}: " * (one.path not in _SAID) + one.message for one in mistakes]
    if len(mistakes) == 1:
        return UsageError(lines[0], hint=mistakes[0].hint)
    hints = [f" ({one.hint})" if one.hint else "" for one in mistakes]
    return UsageError("\n".join(line + hint for line, hint in zip(lines, hints, strict=True)))


def is_target(document: Document) -> bool:
    """Whether a file is meant as a target (it has services), not as an experiment."""
    return isinstance(document.data, dict) and "services" in document.data and "load" not in document.data


def find_target(name: str, near: Path | str | None = None) -> Path:
    """The file of a target. Raises UsageError with a suggestion where there is none."""
    beside = Path(near).absolute().parent if near is not None else Path.cwd()
    if "/" in name or os.sep in name or name.endswith(_SUFFIXES):
        for folder in (beside, Path.cwd()):
            path = folder / Path(name).expanduser()
            if path.is_file():
                return path
            for inner in _NAMES:
                if (path / inner).is_file():
                    return path / inner
        raise UsageError(f"no target file {name!r}", hint=f"looked in {beside} and the working directory")
    known = targets_near(near)
    if name in known:
        return known[name]
    hint = did_you_mean(name, known)
    raise UsageError(f"no target {name!r}", hint=hint or "`chaoskit new demo` writes one to start from")


def targets_near(near: Path | str | None = None) -> dict[str, Path]:
    """Targets by name: the nearest `targets/` folder wins."""
    found: dict[str, Path] = {}
    for folder in _folders(near):
        try:
            inner = sorted((folder / "targets").iterdir())
        except OSError:
            continue  # no such folder here, or not one that we may see into
        for one in inner:
            file = next((one / name for name in _NAMES if (one / name).is_file()), None)
            if file is not None:
                found.setdefault(one.name, file)
    return found


def _folders(near: Path | str | None) -> Iterator[Path]:
    seen = set()
    starts = [Path(near).absolute().parent] if near is not None else []
    for start in [*starts, Path.cwd()]:
        for folder in (start, *start.parents):
            if folder not in seen:
                seen.add(folder)
                yield folder


def _as_named(file: Path) -> Path:
    """Relative to the working directory where it lies below it."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_absolute() and file.is_relative_to(here) else file


def _target(document: Document, file: Path) -> Target:
    data = document.data
    if not isinstance(data, dict):
        raise FileError([document.problem((), f"expected a target: keys with values, not {shown(data)}")])
    mistakes = list(_hidden(Target, data))
    fields = _without(data, mistakes)
    try:
        target = Target.model_validate(fields, context=_WRITTEN)
        mistakes += check_target(target)
    except ValidationError as error:
        mistakes += [*explain(error, Target, data), *_beside(error, fields)]
    else:
        if not mistakes:
            return target.model_copy(update={"file": file})
    raise FileError([_placed(document, mistake) for mistake in mistakes])


def _beside(error: ValidationError, data: dict[str, Any]) -> list[Mistake]:
    """What is wrong with the rest of a target: that which cannot be read is left out, or has a stand-in."""
    fields = dict(data)
    services: dict[str, dict[str, Any]] = {}
    if isinstance(written := data.get("services"), dict):
        services = {name: dict(one) if isinstance(one, dict) else {} for name, one in written.items()}
    wrong, doubtful = set(), set()
    for key, *inner in (one["loc"] for one in error.errors()):
        if key != "services" or not inner:
            wrong.add(key)
            fields.pop(str(key), None)
            continue
        name = str(inner[0])
        doubtful.add(name)
        if len(inner) > 1:
            _leave_out(services[name], *map(str, inner[1:3]))
    if "services" in wrong:
        wrong.add("entry")
    if "adopt" in wrong:
        doubtful |= set(services)
    target = Target.model_validate({"name": "-", "entry": "-", **fields, "services": services}, context=_WRITTEN)
    return [mistake for mistake in check_target(target, doubtful=doubtful) if mistake.path[0] not in wrong]


def _leave_out(service: dict[str, Any], key: str, inner: str = "") -> None:
    """A key of a service; of its variables only the one that cannot be read."""
    if key in ("env", "needs") and isinstance(variables := service.get(key), dict) and inner in variables:
        service[key] = {name: value for name, value in variables.items() if name != inner}
    else:
        service.pop(key, None)


class _ExperimentReading:
    """One file on its way to an Experiment."""

    def __init__(self, document: Document, deployer: str | None = None) -> None:
        self.document = document
        self.deployer = deployer
        self.problems: list[Problem] = []
        self.doubtful: set[str] = set()
        self.numbers: dict[str, list[int]] = {}

    def experiment(self) -> Experiment:
        data = self.document.data
        if not isinstance(data, dict):
            message = f"expected an experiment: keys with values, not {shown(data)}"
            raise FileError([self.document.problem((), message)])
        fields: dict[str, Any] = dict(data)
        hidden = list(_hidden(Experiment, fields))
        self._tell(hidden)
        fields = _without(fields, hidden)
        for key, folder in LISTS.items():
            if isinstance(fields.get(key), list):
                fields[key] = self._items(key, folder, fields[key])
        if self.deployer is not None:
            fields["deployer"] = self.deployer
        file = Path(self.document.file)
        source = text_without_secrets(self.document.text, data, self.document.places)
        experiment = self._validated(fields, data).model_copy(update={"file": file, "source": source})
        target = self._target(experiment)
        self._tell(check(experiment, target, doubtful=self.doubtful, numbers=self.numbers))
        if self.problems:
            raise FileError(self.problems)
        return experiment

    def _items(self, key: str, folder: str, items: list[Data]) -> list[object]:
        """Those that could be read; `numbers` says which."""
        found: list[object] = []
        self.numbers[key] = []
        for number, item in enumerate(items):
            try:
                found.append(_item(folder, item))
                self.numbers[key].append(number)
            except _Wrong as error:
                self.doubtful.add(key)
                self._tell([mistake.below((key, number)) for mistake in error.mistakes])
        return found

    def _validated(self, fields: dict[str, Any], data: dict[str, Data]) -> Experiment:
        """The experiment; what cannot be read is told, and left out or replaced by a stand-in."""
        try:
            return Experiment.model_validate(fields, context=_WRITTEN)
        except ValidationError as error:
            self._tell(explain(error, Experiment, data))
            wrong = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
        self.doubtful |= wrong
        for key in wrong:
            fields.pop(key, None)
            self.numbers.pop(key, None)
            if key in _STAND_INS:
                fields[key] = _STAND_INS[key]
        return Experiment.model_validate(fields, context=_WRITTEN)

    def _target(self, experiment: Experiment) -> Target | None:
        if "target" in self.doubtful:
            return None
        try:
            return load_target(experiment.target, near=self.document.file)
        except FileError as error:
            self.problems += error.problems
        except UsageError as error:
            self.problems.append(self.document.problem(("target",), error.message, error.hint))
        return None

    def _tell(self, mistakes: Sequence[Mistake]) -> None:
        self.problems += [_placed(self.document, mistake) for mistake in mistakes]


class _Wrong(Exception):
    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = mistakes


def _item(folder: str, item: Data) -> object:
    """One item of a list of kinds. Raises _Wrong with paths from the item on."""
    known = kinds(folder)
    noun = {"faults": "fault", "probes": "probe", "hypotheses": "hypothesis"}[folder]
    if not isinstance(item, dict):
        example = f"{{kind: {next(iter(known), '…')}, …}}"
        raise _Wrong([Mistake((), f"expected a {noun} such as {example}, not {shown(item)}")])
    if "kind" not in item:
        raise _Wrong([Mistake((), f"expected a key 'kind': which {noun} it is", f"there are: {', '.join(known)}")])
    kind = item["kind"]
    if not isinstance(kind, str) or kind not in known:
        hint = _elsewhere(str(kind), folder) or did_you_mean(str(kind), known)
        raise _Wrong([Mistake(("kind",), f"no {noun} of kind {shown(kind)}", hint)])
    cls = known[kind]
    fields = {key: value for key, value in item.items() if key != "kind"}
    hidden = list(_hidden(cls, fields))
    try:
        read_item: object = cls.model_validate(_without(fields, hidden), context=_WRITTEN)
    except ValidationError as error:
        raise _Wrong([*hidden, *explain(error, cls, fields)]) from None
    if hidden:
        raise _Wrong(hidden)
    return read_item


def _elsewhere(kind: str, folder: str) -> str:
    """Whether a kind was put into the wrong list."""
    others = {"faults": "faults", "hypotheses": "hypotheses", "probes": "probes"}
    found = [where for where in FOLDERS if where in others and where != folder and kind in kinds(where)]
    return f"{kind!r} is one of {others[found[0]]}" if found else ""


def _hidden(model: type[BaseModel], data: dict[str, Any]) -> Iterator[Mistake]:
    """Keys that name fields which files may not set."""
    for name, field in model.model_fields.items():
        if field.exclude and name in data:
            hint = difflib.get_close_matches(name, keys_of(model), n=1)
            yield Mistake((name,), f"unknown key {name!r}", f"did you mean {hint[0]!r}?" if hint else "", key=True)


def _without(data: dict[str, Any], mistakes: Sequence[Mistake]) -> dict[str, Any]:
    left_out = {mistake.path[0] for mistake in mistakes if mistake.path}
    return {key: value for key, value in data.items() if key not in left_out}


def _placed(document: Document, mistake: Mistake) -> Problem:
    return document.problem(mistake.path, mistake.message, mistake.hint, key=mistake.key)
