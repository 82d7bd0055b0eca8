"""JUnit XML, which every CI shows: a suite for each run, a case for each gate and finding.

A refuted hypothesis is a failure, a shut gate or an inconclusive finding an error (the run could not tell). Where a
twin is expected to be refuted, the hypotheses that it must break are the ones that pass by breaking.
The format is the one that Jenkins and GitLab read: testsuites / testsuite / testcase / failure | error | system-out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from chaoskit.interfaces import Reporter
from chaoskit.model.history import History
from chaoskit.model.run import Run
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.reporters.answer import again, answer, measured_text
from chaoskit.reporters.failure import Failure
from chaoskit.reporters.file import write_text

__all__ = ["JUnitReporter", "junit_text"]

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, however it is escaped."""


class JUnitReporter(Reporter):
    """Writes `junit.xml`: a test case for each gate and each hypothesis, for CI."""

    kind = "junit"
    file = "junit.xml"

    def write(self, run: Run, history: History, folder: Path) -> Path:  # noqa: ARG002 - the same for every reporter
        return write_text(folder / self.file, junit_text([run]))


def junit_text(runs: Sequence[Run], failed: Sequence[Failure] = ()) -> str:
    """One document over several runs, and over what did not come to one."""
    root = Element("testsuites", name="chaoskit")
    for run in runs:
        _suite(root, run)
    for one in failed:
        name = _text(one.name)
        suite = SubElement(root, "testsuite", name=name, tests="1", failures="0", errors="1", skipped="0", time="0")
        case = SubElement(suite, "testcase", classname=name, name="carried out", time="0")
        SubElement(case, "error", message=_text(one.error.message), type=one.says).text = _text(one.text)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    root.set("time", f"{sum(max(run.finished - run.started, 0.0) for run in runs):.3f}")
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, run: Run) -> None:
    name = _text(f"{run.title} [{run.variant}]" if run.variant else run.title)
    stamp = datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    took = f"{max(run.finished - run.started, 0.0):.3f}"
    suite = SubElement(root, "testsuite", name=name, timestamp=stamp, time=took)
    place = _text(".".join(part for part in (run.experiment or run.title, run.variant) if part))
    for gate in run.gates:
        case = SubElement(suite, "testcase", classname=place, name=_text(f"gate: {gate.gate}"), time="0")
        if not gate.open:
            SubElement(case, "error", message=_text(gate.because), type="gate").text = _text(gate.because)
    for finding in run.findings:
        _case(suite, place, run, finding)
    # The run as a whole: what CI shows where no single case tells (a twin that held, a run that could not be made).
    whole = SubElement(suite, "testcase", classname=place, name=f"verdict: expected {run.expected.value}", time=took)
    if not run.as_expected:
        kind = "error" if run.error or run.verdict is Verdict.INCONCLUSIVE else "failure"
        said = f"{run.verdict.value}, expected {run.expected.value}: {answer(run)}"
        SubElement(whole, kind, message=_text(said), type=run.verdict.value).text = _text(said)
    out = [answer(run), f"again: {again(run)}" if again(run) else "", f"folder: {run.folder}" if run.folder else ""]
    SubElement(suite, "system-out").text = _text("\n".join(line for line in out if line))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", "0")


def _case(suite: Element, place: str, run: Run, finding: Finding) -> None:
    phase = f" in {finding.phase}" if finding.phase else ""
    name = _text(f"{finding.hypothesis}{phase}: {finding.expected}")
    case = SubElement(suite, "testcase", classname=place, name=name, time="0")
    if finding.verdict is Verdict.SUPPORTED or (run.expected is Verdict.REFUTED and run.as_expected):
        # A twin that broke as it must is judged by its verdict below, not by each hypothesis that it broke.
        return
    detail = (
        f"{finding.because}\nexpected: {finding.expected}\nmeasured: {measured_text(finding)}"
        f"\nsamples: {finding.samples}"
    )
    kind = "failure" if finding.verdict is Verdict.REFUTED else "error"
    SubElement(case, kind, message=_text(finding.because), type=finding.verdict.value).text = _text(detail)


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
