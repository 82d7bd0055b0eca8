"""Claims judged while a run goes on, for whoever watches. Nothing of it is kept: the run is judged when it is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import History, Phase
from chaoskit.model.verdict import Finding

__all__ = ["SoFar"]

_AFTER = 1.0
"""Seconds from the end of a phase to the judging: most of what was in flight has come in, and faults are out."""
_MOST = 200_000
"""Observations above which nothing is told: judging so many would take time from what goes on."""


class SoFar:
    """Judges claims whose phases are over: beside the run, in a thread of its own that nothing waits for. It takes
    milliseconds. `tell` is called in that thread."""

    def __init__(
        self, claims: Sequence[Hypothesis], tell: Callable[[Finding], None] | None, *, after: float = _AFTER
    ) -> None:
        self._claims = claims
        self._tell = tell
        self._after = after
        self._ended = threading.Event()

    def judge(self, over: Collection[Phase], history: Callable[[], History]) -> threading.Thread | None:
        """Begin with the claims of phases that are over. `history` is asked for when it comes to it, in the thread."""
        claims = [claim for claim in self._claims if {*claim.phases} <= {*over}]
        if self._tell is None or not claims:
            return None
        work = threading.Thread(target=self._work, args=(claims, history, self._tell), name="so-far", daemon=True)
        work.start()
        return work

    def end(self) -> None:
        """Tell nothing more: the run is over."""
        self._ended.set()

    def _work(
        self, claims: Sequence[Hypothesis], history: Callable[[], History], tell: Callable[[Finding], None]
    ) -> None:
        if self._ended.wait(self._after):
            return
        seen = history()
        if len(seen.observations) > _MOST:
            return
        for claim in claims:
            try:
                found = claim.judge(seen)
            except Exception:  # noqa: BLE001, S112 - a judge that crashes shuts a gate when the run is judged
                continue
            if self._ended.is_set():
                return
            tell(found)
