"""The one undo of all that a run has made in an engine: by its label, again and again until nothing bears it."""

from __future__ import annotations

import time
from contextlib import closing

from chaoskit.deployers.docker_engine import RUN_LABEL, Engine
from chaoskit.errors import UndoError
from chaoskit.interfaces import Scene, System, UndoOwner
from chaoskit.model.undo import Undo

__all__ = ["Sweep", "sweep_undo", "swept"]

_PASSES = 2.0
_SWEEPS = 15.0


class Sweep(UndoOwner):
    """Removes all that bears the run's label, until two passes 2 s apart find nothing: a container can appear after
    whoever asked for it has died."""

    kind = "docker.run"
    after_processes = True

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        run_id = str(undo.args["run"])
        until = time.monotonic() + _SWEEPS
        with closing(Engine(str(undo.args["engine"]))) as engine:
            while left := engine.sweep(run_id):
                time.sleep(_PASSES if system is None else 0.0)
                if time.monotonic() > until:
                    raise UndoError(f"these are still there: {', '.join(left)}", hint=undo.says)
            if system is None:
                time.sleep(_PASSES)
                if late := engine.sweep(run_id):
                    raise UndoError(f"these appeared again: {', '.join(late)}", hint=undo.says)


def sweep_undo(engine: Engine, run_id: str, network: str) -> Undo:
    """To be written down before the first thing is made."""
    return Undo(
        id=f"{Sweep.kind}:{run_id}",
        owner=Sweep.kind,
        args={"engine": engine.url, "run": run_id},
        says=f"docker rm -fv $(docker ps -aq --filter label={RUN_LABEL}={run_id}); docker network rm {network}",
    )


def swept(engine: Engine, scene: Scene, undo: Undo) -> None:
    """In the end, when nobody makes anything more; what is in use even so is left to the guardian."""
    engine.sweep(scene.run_id)
    if not engine.sweep(scene.run_id):
        scene.undone(undo.id)
