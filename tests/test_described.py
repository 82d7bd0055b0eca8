"""Docstrings below fields are read when somebody asks, and stand in JSON Schema."""

from __future__ import annotations

from pydantic import Field

from chaoskit.described import Described, described


class Plain(Described):
    """A class of its own."""

    first: int = 1
    """What comes first.

    And more of it.
    """
    second: int = Field(2, alias="2nd", description="Said by itself.")
    """Not this."""
    third: int = 3


class Deeper(Plain):
    third: int = 4
    """Told by the subclass."""
    fourth: Plain = Plain()
    """One within the other."""


def test_a_field_is_described_by_itself_or_by_the_docstring_below_it() -> None:
    assert described(Plain) == {"first": "What comes first.\n\nAnd more of it.", "second": "Said by itself."}


def test_a_subclass_has_what_its_base_says_and_more() -> None:
    assert described(Deeper) == {
        **described(Plain),
        "third": "Told by the subclass.",
        "fourth": "One within the other.",
    }


def test_json_schema_tells_it_also_of_nested_models() -> None:
    schema = Deeper.model_json_schema()
    told = {name: value.get("description") for name, value in schema["properties"].items()}
    assert told["first"] == "What comes first.\n\nAnd more of it."
    assert (told["2nd"], told["third"]) == ("Said by itself.", "Told by the subclass.")
    assert told["fourth"] == "One within the other."
    nested = schema["$defs"]["Plain"]["properties"]
    assert "description" not in nested["third"]
    assert nested["first"]["description"] == told["first"]


def test_a_class_without_a_source_has_no_descriptions() -> None:
    space: dict[str, type[Described]] = {}
    exec("class Typed(Base):\n    one: int = 1\n", {"Base": Described, "__name__": "nowhere"}, space)
    assert described(space["Typed"]) == {}
