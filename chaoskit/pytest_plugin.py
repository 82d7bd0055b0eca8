"""Front door 3: experiments as tests, beside unit tests. Loads nothing heavy until a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "chaos_run(experiment, variant=None, seed=None): the experiment that `chaos_run` carries out"
    )
