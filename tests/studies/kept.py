"""Stores full of runs, made by hand."""

from __future__ import annotations

from pathlib import Path

import msgspec

from chaoskit.model.history import History
from chaoskit.model.run import Run
from chaoskit.model.verdict import Verdict
from chaoskit.reporters.json import JsonReporter
from chaoskit.store import HISTORY, save_run
from tests.reporters.runs import shop_history, shop_run


def keep(root: Path, run: Run, history: History | None = None, *, experiment: str = "shop", name: str = "") -> Path:
    """Put a run into a store as the runner does, with its history and result where there is one."""
    folder = root / experiment / (name or run.id)
    folder.mkdir(parents=True)
    run = msgspec.structs.replace(run, folder=str(folder))
    save_run(folder, run)
    if history is not None:
        (folder / HISTORY).write_bytes(msgspec.json.Encoder().encode_lines(history.observations))
        JsonReporter().write(run, history, folder)
    return folder


def sides(root: Path, runs: int, *, broken: bool = False, in_turns: bool = True) -> None:
    """`runs` of the variants a and b, alternately or one side after the other; b is broken where asked for."""
    for n in range(runs):
        for place, variant in enumerate("ab"):
            history = shop_history(seed=10 * n + place, broken=broken and variant == "b")
            run = shop_run(history, verdict=Verdict.SUPPORTED)
            at = (n * 2 + place if in_turns else n + place * runs) * 60.0
            run = msgspec.structs.replace(
                run, id=f"run-{n}-{variant}", variant=variant, started=run.started + at, finished=run.finished + at
            )
            keep(root, run, history)
