"""What a setting means: the docstring below its field, read when somebody asks.

Pydantic's `use_attribute_docstrings` reads them when a class is made: at every start, for more time than the rest of
loading an experiment takes. Only errors, questions, schema and docs need them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

__all__ = ["Described", "described"]


class Described(BaseModel):
    """Base of models whose fields are described by docstrings, in JSON Schema too."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made = handler(core_schema)
        properties = handler.resolve_ref_schema(made).get("properties", {})
        for name, text in described(cls).items():
            shown = properties.get(cls.model_fields[name].alias or name)
            if shown is not None:
                shown["description"] = text
        return made


def described(cls: type[BaseModel]) -> dict[str, str]:
    """Field → description: its own (`Field(description=...)`), else its docstring. Nothing for fields without either,
    or where the source of a class cannot be read."""
    found: dict[str, str] = {}
    for part in reversed(cls.__mro__):
        if issubclass(part, BaseModel) and part is not BaseModel:
            found.update(_docstrings(part))
    own = {name: field.description for name, field in cls.model_fields.items() if field.description}
    return {name: text for name, text in {**found, **own}.items() if name in cls.model_fields}


def _docstrings(cls: type[BaseModel]) -> dict[str, str]:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError):  # made at a prompt, or from a file that is gone
        return {}
    if not isinstance(body, ast.ClassDef):
        return {}
    found: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            value = below.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[field.target.id] = inspect.cleandoc(value.value)
    return found
