"""chaoskit compare: lay two sides of runs beside each other, and gate on regressions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaoskit.errors import Exit, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaoskit.cli.console import Screen
    from chaoskit.experiment import Experiment
    from chaoskit.runner import Finished
    from chaoskit.studies.compare import Comparison
    from chaoskit.studies.fail_if import FailIf
    from chaoskit.studies.sides import Side

__all__ = ["command"]

_EXITS = {"supported": Exit.AS_EXPECTED, "refuted": Exit.REFUTED, "inconclusive": Exit.INCONCLUSIVE}


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@click.option("--baseline", metavar="FILE|latest",
              help="Side A: a result file, a run, or `latest`: earlier runs of the same experiment.")  # fmt: skip
@click.option("--fail-if", "gates", multiple=True, metavar="GATE",
              help="Exit 1 where B is worse: 'p95 +10%', 'p99 of GET /cart in fault +50ms'.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(1, 100),
              help="Run A and B (experiment files: FILE or FILE:VARIANT) so often, in turns.")  # fmt: skip
@click.option("--accept-order", is_flag=True, help="Let gates judge sides that were not run in turns.")
@click.option("--variant", metavar="NAME", help="Of an experiment's runs, those of this variant.")
@click.option("--store", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"), show_default=True,
              help="Folder that runs are kept in.")  # fmt: skip
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Where the page goes.  [default: compare.html in the store]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON; the rest goes to standard error.")
@click.option("-q", "--quiet", is_flag=True, help="Only the answer.")
def command(
    a: str,
    b: str | None,
    baseline: str | None,
    gates: tuple[str, ...],
    repeat: int | None,
    accept_order: bool,
    variant: str | None,
    store: Path,
    html: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare the runs of B with those of A.

    A and B are runs, experiments in the store (all their runs; NAME:VARIANT for one variant), or files that
    `run --json` wrote. With --repeat they are experiment files, which are run in turns. With --baseline there is only
    one of them.

    A gate judges runs, not requests: it takes five or more a side, run in turns, and cannot tell with less. Exit 0 no
    regression, 1 regression, 3 cannot tell.
    """
    from chaoskit.cli.console import Screen
    from chaoskit.reporters.file import write_text
    from chaoskit.studies.compare import compare
    from chaoskit.studies.compare_page import comparison_html, comparison_text
    from chaoskit.studies.fail_if import FailIf, check_gates

    if (b is None) == (baseline is None):
        raise UsageError("there must be two sides", hint="A and B, or one of them and --baseline")
    asked = [FailIf.parse(gate) for gate in gates]
    screen = Screen(quiet=quiet, aside=as_json)
    if repeat is not None:
        if b is None:
            raise UsageError("--repeat runs two sides in turns", hint="chaoskit compare --repeat 5 A.yaml B.yaml")
        sides = _run_in_turns(screen, a, b, repeat, store, asked)
    else:
        sides = _read(a, b, baseline, store, variant)
        check_gates(asked, {key.of for side in sides for sample in side.samples for key in sample.values})
    found = compare(*sides, asked, accept_order=accept_order)
    store.mkdir(parents=True, exist_ok=True)
    page = write_text(html or store / "compare.html", comparison_html(found))
    _tell(screen, found, page)
    if as_json:
        click.echo(comparison_text(found), nl=False)
    click.get_current_context().exit(_EXITS[found.verdict.value])


def _read(a: str, b: str | None, baseline: str | None, store: Path, variant: str | None) -> tuple[Side, Side]:
    from chaoskit.studies.sides import earlier_side, read_side

    if b is not None:
        return read_side(a, store, variant), read_side(b, store, variant)
    side = read_side(a, store, variant)
    return (earlier_side(side, store) if baseline == "latest" else read_side(baseline or "", store, variant)), side


def _run_in_turns(
    screen: Screen, a: str, b: str, repeat: int, store: Path, gates: Sequence[FailIf]
) -> tuple[Side, Side]:
    """A B B A A B …: what drifts with time falls on both sides alike. Raises UsageError and whatever a run raises."""
    from chaoskit.interrupt import Interrupt
    from chaoskit.runner import Asked, carry_out
    from chaoskit.studies.fail_if import PHASES, check_gates
    from chaoskit.studies.sides import side_of

    sides = [(text, *_experiment(text)) for text in (a, b)]
    for _, experiment, _ in sides:
        planned = [phase.value for phase, span in experiment.phases.spans().items() if span[1] > span[0]]
        check_gates(gates, experiment.load.names, [phase for phase in PHASES if phase in planned])
    finished: tuple[list[Finished], list[Finished]] = ([], [])
    for turn in range(repeat):
        for place in (0, 1) if turn % 2 == 0 else (1, 0):
            text, experiment, variant = sides[place]
            asked = Asked(
                variant=variant, seed=experiment.seed + turn, store=store, interrupt=Interrupt(), command=("chaoskit",)
            )
            done = carry_out(experiment, asked)
            screen.line(("AB"[place], "bold"), f"  {turn + 1} of {repeat}  {done.run.verdict}  {text}")
            if done.run.interrupted:
                raise KeyboardInterrupt
            finished[place].append(done)
    return side_of(a, finished[0]), side_of(b, finished[1])


def _experiment(text: str) -> tuple[Experiment, str | None]:
    """The experiment and variant that FILE or FILE:VARIANT means."""
    from chaoskit.reading import load

    name, _, variant = text.rpartition(":") if not Path(text).exists() else (text, "", "")
    experiment = load(name or text)
    if not variant and experiment.variants:
        known = ", ".join(experiment.variants)
        raise UsageError(f"{text} has variants: {known}", hint=f"name one: {text}:{next(iter(experiment.variants))}")
    return experiment, variant or None


def _tell(screen: Screen, found: Comparison, page: Path) -> None:
    """The answer, what differs, and where the picture is."""
    marks = {"supported": ("✓", "green"), "refuted": ("✗", "red"), "inconclusive": ("?", "yellow")}
    screen.line(f"A  {found.a.label}  ({len(found.a.samples)} runs)")
    screen.line(f"B  {found.b.label}  ({len(found.b.samples)} runs)")
    rows = [
        (
            f"{one.key.measure} of {one.key.of} in {one.key.phase}",
            f"{one.text(one.mean_a)} → {one.text(one.mean_b)}",
            one.change_text,
            f"[{one.interval_text}]" if one.interval_text else "",
            {True: "worse", False: "better", None: ""}[one.worse],
        )
        for one in found.differences
        if one.key.phase in ("fault", "load") or one.worse is not None
    ]
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*rows, strict=True)]
    for row in rows:
        screen.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), indent=2)
    for judged in found.judged:
        mark, style = marks[judged.verdict.value]
        screen.always((f"{mark} ", style), judged.because)
    if not found.judged:
        screen.always(found.answer)
    screen.line(("page: ", "dim"), (str(page), "underline"))
