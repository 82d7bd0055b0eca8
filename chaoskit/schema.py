"""JSON Schema of experiment and target files, generated from the classes: a new kind is in it by itself.

Draft 2020-12. Each item of `faults`, `hypotheses`, `steady_state` and `probes` is one of the kinds' classes, with its
`kind` as a constant.
"""

from __future__ import annotations

import re
from typing import TypeAlias, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from chaoskit.document import Data
from chaoskit.experiment import Experiment
from chaoskit.reading import LISTS
from chaoskit.registry import kinds
from chaoskit.target import Target
from chaoskit.wording import keys_of

__all__ = ["Schema", "experiment_schema", "kind_schema", "target_schema"]

Schema: TypeAlias = dict[str, Data]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def experiment_schema() -> Schema:
    """Of experiment files, with every kind that is known here."""
    folders = list(dict.fromkeys(LISTS.values()))
    found: dict[str, dict[str, type[BaseModel]]] = {folder: kinds(folder) for folder in folders}
    models: list[type[BaseModel]] = [Experiment]
    models += [cls for table in found.values() for cls in table.values()]
    refs, definitions = _generated(models)
    branches: Schema = {}
    for folder, table in found.items():
        for kind, cls in table.items():
            name = f"{folder}.{kind}"
            branches[name] = _with_kind(_resolved(refs[cls], definitions), cls, kind)
    schema = _resolved(refs[Experiment], definitions)
    properties = _mapping(schema["properties"])
    for key, folder in LISTS.items():
        options: list[Data] = [{"$ref": f"#/$defs/{folder}.{kind}"} for kind in found[folder]]
        about = _mapping(properties[key]).get("description")
        properties[key] = {
            "type": "array",
            "items": {"oneOf": options},
            "description": about or f"Of the kinds in {folder}.",
        }
    deployers: Schema = {"enum": [*kinds("deployers")]}
    properties["deployer"] = _mapping(properties["deployer"]) | deployers
    return _finished(schema, definitions | branches, Experiment, "chaoskit experiment")


def target_schema() -> Schema:
    """Of target files."""
    refs, definitions = _generated([Target])
    services = _mapping(definitions["ServiceSpec"])
    properties = _mapping(services["properties"])
    examples: Schema = {"examples": [*kinds("backing")]}
    properties["provides"] = _mapping(properties["provides"]) | examples
    return _finished(_resolved(refs[Target], definitions), definitions, Target, "chaoskit target")


def kind_schema(folder: str, kind: str) -> Schema:
    """Of one item of one kind, with what it refers to."""
    cls = kinds(folder)[kind]
    refs, definitions = _generated([cls])
    return _finished(_with_kind(_resolved(refs[cls], definitions), cls, kind), definitions, cls, kind)


def _generated(models: list[type[BaseModel]]) -> tuple[dict[type[BaseModel], Schema], Schema]:
    """A reference for each class, and the definitions of all that they use, under names that do not clash."""
    refs, document = models_json_schema([(model, "validation") for model in models], title="")
    found = {model: cast("Schema", ref) for (model, _), ref in refs.items() if issubclass(model, BaseModel)}
    return found, _tidied(cast("Schema", document.get("$defs", {})))


def _tidied(definitions: Schema) -> Schema:
    """Without what says nothing (titles made from names), and with units in defaults, as files have them."""
    for definition in definitions.values():
        whole = _mapping(definition)
        for part in (whole, *map(_mapping, _mapping(whole.get("properties", {})).values())):
            part.pop("title", None)
            default = part.get("default")
            if default is None or isinstance(default, dict) or default in ("", []):
                part.pop("default", None)
            elif isinstance(default, int | float) and part.get("type") == "string":
                _with_unit(part, default)
    return definitions


def _with_unit(part: Schema, default: float) -> None:
    """The default as a file would have it: the first way to write it that the pattern allows."""
    ways = (f"{default:g}s", f"{default:g}/s", f"{default * 100:g}%", f"{default:g}B", f"{default:g}B/s")
    allowed = [way for way in ways if re.search(str(part.get("pattern", "^$")), way)]
    if allowed:
        part["default"] = allowed[0]
    else:
        del part["default"]


def _resolved(ref: Schema, definitions: Schema) -> Schema:
    name = str(ref["$ref"]).removeprefix("#/$defs/")
    return dict(_mapping(definitions[name]))


def _with_kind(schema: Schema, cls: type[BaseModel], kind: str) -> Schema:
    """The class as an item of a list: `kind` first and required, fields that files may not set left out."""
    known = keys_of(cls)
    properties = {key: value for key, value in _mapping(schema.get("properties", {})).items() if key in known}
    required = schema.get("required", [])
    assert isinstance(required, list), "pydantic writes a list"
    return schema | {
        "properties": {"kind": {"const": kind, "type": "string"}, **properties},
        "required": ["kind", *(key for key in required if key in known)],
    }


def _finished(schema: Schema, definitions: Schema, cls: type[BaseModel], title: str) -> Schema:
    known = {*keys_of(cls), "kind"}
    properties = {key: value for key, value in _mapping(schema["properties"]).items() if key in known}
    whole: Schema = {"$schema": _DIALECT, "title": title, **{k: v for k, v in schema.items() if k != "title"}}
    whole["properties"] = properties
    whole["$defs"] = _used(whole, definitions)
    if not whole["$defs"]:
        del whole["$defs"]
    return whole


def _used(schema: Schema, definitions: Schema) -> Schema:
    """Definitions that the schema refers to, directly or not."""
    used: dict[str, Data] = {}
    waiting = _references(schema)
    while waiting:
        name = waiting.pop()
        if name not in used:
            used[name] = definitions[name]
            waiting |= _references(definitions[name])
    return {name: used[name] for name in sorted(used)}


def _references(value: Data) -> set[str]:
    if isinstance(value, dict):
        own = value.get("$ref")
        found = {own.removeprefix("#/$defs/")} if isinstance(own, str) else set()
        return found.union(*(_references(inner) for inner in value.values()))
    return set().union(*(_references(inner) for inner in value)) if isinstance(value, list) else set()


def _mapping(value: Data) -> Schema:
    assert isinstance(value, dict), "pydantic writes a mapping"
    return value
