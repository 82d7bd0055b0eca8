"""The one undo of all that a run has made in an engine: by its label, again and again until nothing bears it."""

from __future__ import annotations

import time
from contextlib import closing

from chaoskit.deployers.docker_engine import RUN_LABEL, Engine
from chaoskit.errors import UndoError
from chaoskit.interfaces import Scene, System, UndoOwner
from chaoskit.model.undo import Undo

__all__ = ["Sweep", "sweep_undo", "swept"]

_PASSES, _BETWEEN = 2, 2.0
"""Passes in a row that must find nothing where nobody tells what is still being made, and seconds between two."""
_SWEEPS = 15.0
"""Seconds after which it is given up."""


class Sweep(UndoOwner):
    """Removes all that bears the run's label, until two passes 2 s apart find nothing: a container can appear after
    whoever asked for it has died."""

    kind = "docker.run"
    after_processes = True

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        run_id = str(undo.args["run"])
        passes, between = (_PASSES, _BETWEEN) if system is None else (1, 0.0)
        until = time.monotonic() + _SWEEPS
        with closing(Engine(undo.args["engine"])) as engine:
            empty = 0
            while True:
                left = engine.sweep(run_id)
                empty = 0 if left else empty + 1
                if empty == passes:
                    return
                if left and time.monotonic() > until:
                    raise UndoError(f"these are still there: {', '.join(left)}", hint=undo.says)
                time.sleep(between)


def sweep_undo(engine: Engine, run_id: str, network: str) -> Undo:
    """To be written down before the first thing is made."""
    return Undo(
        id=f"{Sweep.kind}:{run_id}",
        owner=Sweep.kind,
        args={"engine": engine.where.written, "run": run_id},
        says=f"docker rm -fv $(docker ps -aq --filter label={RUN_LABEL}={run_id}); docker network rm {network}",
    )


def swept(engine: Engine, scene: Scene, undo: Undo) -> None:
    """In the end, when nobody makes anything more; what is in use even so is left to the guardian."""
    engine.sweep(scene.run_id)
    if not engine.sweep(scene.run_id):
        scene.undone(undo.id)
