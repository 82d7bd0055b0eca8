"""chaoskit run: carry experiments out, watch them, and judge them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from chaoskit.errors import ChaoskitError, CouldNotRun, Exit, FileError, Problem, UsageError, worst_exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaoskit.cli.common.progress import Progress
    from chaoskit.cli.console import Line, Screen
    from chaoskit.experiment import Experiment
    from chaoskit.interrupt import Interrupt
    from chaoskit.model.run import Run
    from chaoskit.reporters.failure import Failure
    from chaoskit.reporters.stream import EventStream
    from chaoskit.runner import Asked, Finished

__all__ = ["command"]

_STATUS_EVERY = 2.0
"""Seconds between lines of progress where there is no terminal."""


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE_OR_FOLDER...")
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Only this variant (may be repeated).")
@click.option("--seed", type=click.IntRange(min=0), metavar="NUMBER",
              help="Instead of the file's; repeats count up from it.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(min=1), metavar="NUMBER", default=1, show_default=True,
              help="Run everything so often.")  # fmt: skip
@click.option("--deployer", metavar="KIND", help="Instead of the file's: process, docker, external.")
@click.option("--allow-host", "allow_hosts", multiple=True, metavar="HOST",
              help="Load may go to this host, which the file names in allow_hosts (may be repeated).")  # fmt: skip
@click.option("--store", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"), show_default=True,
              help="Folder that runs are kept in.")  # fmt: skip
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write JUnit XML.")
@click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Append a Markdown summary (as $GITHUB_STEP_SUMMARY wants it).")  # fmt: skip
@click.option("--annotations", type=click.Choice(["github", "gitlab"]),
              help="Remarks on the lines of experiments: GitHub's are printed, GitLab's go to a file.")  # fmt: skip
@click.option("--events", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), metavar="FILE",
              help="Write what happens as it happens, one JSON object a line (- for standard output).")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; progress goes to standard error.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, one line for each run.")
def command(
    paths: tuple[Path, ...],
    variants: tuple[str, ...],
    seed: int | None,
    repeat: int,
    deployer: str | None,
    allow_hosts: tuple[str, ...],
    store: Path,
    junit: Path | None,
    summary: Path | None,
    annotations: str | None,
    events: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Carry experiments out and judge them.

    Of folders, every experiment below them. Every variant runs unless --variant names some. All files are checked
    before anything starts. Reports are in reports/<experiment>/latest/. Ctrl-C takes faults out, ends every process
    and reports what was seen so far.
    """
    from chaoskit.cli.common.files import experiment_files
    from chaoskit.cli.common.outputs import Outputs
    from chaoskit.cli.console import Screen

    streamed = str(events) == "-"
    if as_json and streamed:
        raise UsageError("--json and --events - would both write to standard output", hint="--events FILE")
    aside = as_json or streamed
    outputs = Outputs(junit, summary, annotations, as_json, aside)
    stream = None if events is None else _opened(events)
    try:
        jobs = _jobs(_read(experiment_files(paths), deployer), variants, repeat, seed)
    except ChaoskitError as error:
        outputs.refused(error)
        raise

    from chaoskit.runner import Asked

    screen = Screen(quiet=quiet, aside=aside)
    asked = Asked(deployer=deployer, store=store, allow_hosts=allow_hosts, command=("chaoskit", *_arguments()))
    suite = _Suite(screen, asked, stream)
    for experiment, variant, run_seed in jobs:
        suite.carry_out(experiment, variant, run_seed)
        if suite.interrupted:
            break
    code = suite.code()
    suite.tell(code)
    try:
        outputs.write(suite.finished, suite.failed)
        _index(screen, store)
    except OSError as error:
        hint = "the runs themselves are kept: chaoskit report makes their reports again"
        raise CouldNotRun(f"{error.filename} was not written: {error.strerror}", hint=hint) from error
    outputs.print_json(suite.finished, suite.failed, interrupted=suite.interrupted)
    click.get_current_context().exit(code)


def _arguments() -> list[str]:
    import sys

    return sys.argv[1:]


def _read(files: list[Path], deployer: str | None) -> list[Experiment]:
    """All of them, checked against the deployer that was asked for; or what is wrong in any of them."""
    from chaoskit.reading import load

    experiments = []
    problems: list[Problem] = []
    for file in files:
        try:
            experiments.append(load(file, deployer=deployer))
        except FileError as error:
            problems += error.problems
    if problems:
        raise FileError(list(dict.fromkeys(problems)))
    return experiments


def _jobs(
    experiments: list[Experiment], variants: tuple[str, ...], repeat: int, seed: int | None
) -> list[tuple[Experiment, str | None, int]]:
    """What to run, in order; repeats are interleaved, so that what changes with time does not look like a variant."""
    chosen: list[tuple[Experiment, str | None]] = []
    for experiment in experiments:
        names: list[str | None] = [*experiment.variants] or [None]
        chosen += [(experiment, name) for name in names if not variants or name in variants]
    known = list(dict.fromkeys(name for experiment in experiments for name in experiment.variants))
    for name in variants:
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known) or 'none'}"
            raise UsageError(f"no variant {name!r} in what is to be run", hint=hint)
    return [
        (experiment, name, (experiment.seed if seed is None else seed) + turn)
        for turn in range(repeat)
        for experiment, name in chosen
    ]


class _Suite:
    """The runs of one command, one after the other."""

    def __init__(self, screen: Screen, asked: Asked, events: TextIO | None = None) -> None:
        self.screen = screen
        self.asked = asked
        self.events = events
        self.begun = 0
        self.finished: list[Finished] = []
        self.failed: list[Failure] = []
        self.interrupted = False

    def carry_out(self, experiment: Experiment, variant: str | None, seed: int) -> None:
        """One run; what keeps it from being carried out is told, and the others go on."""
        from dataclasses import replace

        from chaoskit.cli.common.outcome import tell_run
        from chaoskit.cli.common.progress import Progress
        from chaoskit.interrupt import Interrupt
        from chaoskit.reporters.failure import Failure
        from chaoskit.runner import carry_out

        name = f"{experiment.title} [{variant}]" if variant else experiment.title
        phases = [(phase.value, *span) for phase, span in experiment.phases.spans().items() if span[1] > span[0]]
        interrupt = Interrupt()
        self.screen.line((name, "bold"), (f"  seed {seed}", "dim"))
        progress = Progress(name, phases, self._line, [claim.title for claim in experiment.hypotheses])
        stream = self._stream(experiment, variant, seed)
        listeners = (progress,) if stream is None else (progress, stream)
        so_far = progress.judged if self.screen.interactive else None
        asked = replace(self.asked, variant=variant, seed=seed, listeners=listeners, interrupt=interrupt, so_far=so_far)
        try:
            with _Ticker(self.screen, progress), self.screen.live(progress.lines):
                finished = carry_out(experiment, asked)
        except ChaoskitError as error:
            self._could_not(Failure(name, error, str(experiment.file or "")), interrupt)
            if stream is not None:
                stream.fail(error.message)
        except KeyboardInterrupt:
            self.interrupted = True
        else:
            self.finished.append(finished)
            self.interrupted = finished.run.interrupted
            if stream is not None:
                stream.finish(finished.run)
            tell_run(self.screen, finished.run)

    def _stream(self, experiment: Experiment, variant: str | None, seed: int) -> EventStream | None:
        """The stream of the next run, where one was asked for."""
        if self.events is None:
            return None
        from chaoskit.reporters.stream import EventStream

        self.begun += 1
        stream = EventStream(_flushed(self.events), run=self.begun)
        stream.begin(title=experiment.title, experiment=str(experiment.file or ""), variant=variant, seed=seed)
        return stream

    def _line(self, line: Line) -> None:
        self.screen.line(*line)

    def _could_not(self, failure: Failure, interrupt: Interrupt) -> None:
        from chaoskit.cli import tell

        self.failed.append(failure)
        self.interrupted = interrupt.requested
        click.echo(f"{failure.name}:", err=True)
        tell(failure.error)

    @property
    def runs(self) -> list[Run]:
        return [finished.run for finished in self.finished]

    def code(self) -> Exit:
        from chaoskit.reporters.answer import exit_code

        codes: list[Exit] = [exit_code(run) for run in self.runs]
        codes += [failure.error.exit_code for failure in self.failed]
        if self.interrupted:
            codes.append(Exit.INTERRUPTED)
        return worst_exit(codes)

    def tell(self, code: Exit) -> None:
        from chaoskit.cli.common.outcome import tell_repeats, tell_suite

        tell_suite(self.screen, self.runs, self.failed, code)
        tell_repeats(self.screen, self.runs)


class _Ticker:
    """A line of progress now and then, where no terminal shows it."""

    def __init__(self, screen: Screen, progress: Progress) -> None:
        import threading

        self._screen = screen
        self._progress = progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ticker", daemon=True)

    def __enter__(self) -> None:
        if not self._screen.quiet and not self._screen.interactive:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(_STATUS_EVERY):
            if self._progress.begun:
                self._screen.line(*self._progress.status())


def _opened(path: Path) -> TextIO:
    """Where the stream of events goes. Raises UsageError: nothing has begun yet."""
    if str(path) == "-":
        import sys

        return sys.stdout
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    click.get_current_context().call_on_close(file.close)
    return file


def _flushed(file: TextIO) -> Callable[[str], None]:
    """Write and flush: whoever follows the stream sees each line when it is written. A reader that went away or a disk
    that is full ends the stream, not the run."""
    broken: list[OSError] = []

    def write(text: str) -> None:
        if broken:
            return
        try:
            file.write(text)
            file.flush()
        except OSError as error:
            broken.append(error)
            click.echo(f"the stream of events ended: {error}", err=True)

    return write


def _index(screen: Screen, store: Path) -> None:
    """The page over all runs of the store."""
    if store.is_dir():
        from chaoskit.studies.suite import write_index

        screen.line(("all runs: ", "dim"), (str(write_index(store)), "underline"))
