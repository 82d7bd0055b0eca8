"""What pydantic found wrong, in our words: where (as a path in the file), what was expected, did you mean."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from chaoskit.described import described
from chaoskit.document import Path_

__all__ = ["Mistake", "did_you_mean", "explain", "keys_of", "listed", "shown"]


class Mistake(NamedTuple):
    """One thing that is wrong. `key` says that the key itself is meant, not its value."""

    path: Path_
    message: str
    hint: str = ""
    key: bool = False

    def below(self, prefix: Path_) -> Mistake:
        return self._replace(path=(*prefix, *self.path))


_NOUNS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of a sensible size",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "keys with values",
    "mapping_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "none_required": "nothing",
}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def explain(error: ValidationError, model: type[BaseModel], data: object) -> list[Mistake]:
    """All that is wrong with `data` as a `model`; alternatives of one place are told in one sentence."""
    found: dict[Path_, list[ErrorDetails]] = {}
    for one in error.errors(include_url=False):
        found.setdefault(_written_path(one, data), []).append(one)
    deeper = {path[:n] for path in found for n in range(len(path))}
    mistakes = []
    for path, errors in found.items():
        if path in deeper and all(one["type"] in _NOUNS for one in errors):
            continue  # another alternative of the same place fitted better: it is told further down
        mistakes += _told(path, errors, model, data)
    # A key that is spelt wrong is also missing: told once, where it is written.
    meant = {(*mistake.path[:-1], mistake.hint.split("'")[1]) for mistake in mistakes if _misspelt(mistake)}
    return [mistake for mistake in mistakes if not (mistake.path in meant and not mistake.key)]


def _misspelt(mistake: Mistake) -> bool:
    return mistake.key and mistake.hint.startswith("did you mean")


def did_you_mean(name: str, known: Iterable[str], *, all_of_them: bool = True) -> str:
    """`did you mean 'title'?`, else the list of what there is (where that is wanted, and not long)."""
    options = sorted(known)
    close = difflib.get_close_matches(name.lower(), [option.lower() for option in options], n=1, cutoff=0.6)
    if close:
        return f"did you mean {next(option for option in options if option.lower() == close[0])!r}?"
    if not all_of_them or not options:
        return ""
    return f"there are: {', '.join(options)}"


def keys_of(model: type[BaseModel]) -> list[str]:
    """Keys that a mapping of this class may have, as they are written."""
    return [field.alias or name for name, field in model.model_fields.items() if not field.exclude]


def listed(options: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(options[:-1]), options[-1]] if len(options) > 1 else options)


def shown(value: object) -> str:
    """A value as a message quotes it: short, and never a whole section."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "keys with values"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str) else f"{value}"
    return text if len(text) <= 60 else text[:56] + " …" + text[-1]


def _told(path: Path_, errors: list[ErrorDetails], model: type[BaseModel], data: object) -> list[Mistake]:
    nouns = list(dict.fromkeys(_NOUNS[one["type"]] for one in errors if one["type"] in _NOUNS))
    told = []
    if nouns:
        value = _value(data, path)
        hint = "put it in quotes" if nouns == ["a text"] and isinstance(value, bool | int | float) else ""
        told.append(Mistake(path, f"expected {listed(nouns)}, not {shown(value)}", hint))
    told += [_one(path, one, model, data) for one in errors if one["type"] not in _NOUNS]
    return list(dict.fromkeys(told))


def _one(path: Path_, error: ErrorDetails, model: type[BaseModel], data: object) -> Mistake:
    kind, context = error["type"], error.get("ctx", {})
    value = error["input"]
    if kind == "missing":
        around = _model_at(model, path[:-1], data)
        names = [n for n, f in around.model_fields.items() if path[-1] in (n, f.alias)] if around else []
        about = described(around).get(names[0], "") if around and names else ""
        meaning = about.split(". ")[0].split("\n")[0].rstrip(".;:")
        return Mistake(path, f"expected a key {str(path[-1])!r}" + (f": {meaning}" if meaning else ""))
    if kind == "extra_forbidden":
        around = _model_at(model, path[:-1], data)
        known = keys_of(around) if around else []
        used = _value(data, path[:-1])
        free = [key for key in known if not isinstance(used, dict) or key not in used]
        return Mistake(path, f"unknown key {str(path[-1])!r}", did_you_mean(str(path[-1]), free), key=True)
    if kind in ("value_error", "assertion_error"):
        return Mistake(path, str(context.get("error", error["msg"])))
    if kind in ("literal_error", "enum"):
        options = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        hint = did_you_mean(value, options, all_of_them=False) if isinstance(value, str) else ""
        return Mistake(path, f"expected {listed(options) or context.get('expected')}, not {shown(value)}", hint)
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return Mistake(path, f"expected a number {words} {context.get(key)}, not {shown(value)}")
    if kind in ("too_short", "too_long"):
        bound = context.get("min_length" if kind == "too_short" else "max_length")
        words = "at least" if kind == "too_short" else "at most"
        return Mistake(path, f"expected {words} {bound} of them, not {context.get('actual_length')}")
    if kind in ("string_too_short", "string_too_long"):
        return Mistake(
            path, "expected a text that is not empty" if kind == "string_too_short" else "expected less text"
        )
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    return Mistake(path, f"expected {message[:1].lower()}{message[1:]}, not {shown(value)}")


def _written_path(error: ErrorDetails, data: object) -> Path_:
    """pydantic's location without what is not in the file: names of alternatives, `[key]`."""
    path: list[str | int] = []
    node = data
    loc = error["loc"]
    for n, step in enumerate(loc):
        last = n == len(loc) - 1
        if isinstance(node, dict) and (step in node or (last and error["type"] == "missing")):
            node = node.get(step)
        elif isinstance(node, list | tuple) and isinstance(step, int) and step < len(node):
            node = node[step]
        else:
            continue
        path.append(step)
    return tuple(path)


def _value(data: object, path: Path_) -> object:
    node = data
    for step in path:
        if isinstance(node, dict):
            node = node.get(str(step))
        elif isinstance(node, list | tuple) and isinstance(step, int):
            node = node[step]
    return node


def _model_at(model: type[BaseModel], path: Path_, data: object) -> type[BaseModel] | None:
    """The class whose keys are expected at a path: of several alternatives, the one that knows most of its keys."""
    models = [model]
    node = data
    for step in path:
        node = _value(node, (step,))
        found: list[type[BaseModel]] = []
        for one in models:
            for name, field in one.model_fields.items():
                if step in (name, field.alias):
                    found += _models_in(field.annotation)
        models = found or models  # an index, or a key of a dict: still the models of that field
    if not models:
        return None
    written = set(node) if isinstance(node, dict) else set()
    return max(models, key=lambda one: len(written & set(keys_of(one))))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
