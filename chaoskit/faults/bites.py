"""Whether a fault bit, for the ways in which most of them do: calls got slower, or were cut."""

from __future__ import annotations

from chaoskit.faults.evidence import BY_CHANCE, Bite, Seen, by_chance, share_text
from chaoskit.model.units import duration_text

__all__ = ["cut_bite", "slower_bite"]


def slower_bite(seen: Seen, edge: str, added: float, *, share: float = 1.0) -> Bite:
    """For faults that make most calls about `added` seconds slower: more of them than chance lasted that much longer.

    The time must be more than the spread of the baseline (a busy machine makes everything a little slower), unless the
    tap's own server says that its toxic acted.
    """
    longer = seen.lasted_longer(added)
    because = f"{longer.number} of {longer.total} calls over {edge} lasted longer than usual; {seen.took_text()}"
    if unanswered := seen.during.unanswered_text():
        because += f"; {unanswered}"
    if not seen.before.answered:
        return Bite(False, f"{because}: no call in baseline to compare with")
    if added < longer.spread and not seen.during.hits:
        meant = f"{duration_text(added)} is what it adds, and in baseline they were spread over"
        return Bite(False, f"{because}: {meant} {duration_text(longer.spread)}")
    if longer.chance >= BY_CHANCE or (share == 1.0 and longer.number < 0.6 * longer.total):
        picked = "" if share == 1.0 else f" on {share * 100:g}% of them"
        return Bite(False, f"{because}: too few, where it adds {duration_text(added)}{picked}")
    return Bite(True, because)


def cut_bite(seen: Seen, why_not: str, words: str = "were cut off") -> Bite:
    """For faults that end calls before their answer is complete: more of them than chance were cut or given up."""
    before, during = seen.before, seen.during
    usual = (before.unanswered + 1) / (before.total + 2)
    count = during.unanswered
    because = (
        f"{count} of {during.total} calls on {seen.place} {words} ({share_text(before.unanswered, before.total)} in"
        f" baseline) and {during.cut} connections ended with them"
    )
    if by_chance(count, during.total, usual) < BY_CHANCE or (count and during.hits):
        return Bite(True, because)
    return Bite(False, f"{because}: {why_not}")
