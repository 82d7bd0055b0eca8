"""Remake the pictures of README and docs from real runs: `python docs/pictures/make.py [STORE]`.

Runs both variants of one experiment, keeps the supported one's reports as the sample, and takes pictures in headless
Chromium of the report, the terminal, the CI summary, and the index (of STORE where one is given: a suite's, say).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from markdown_it import MarkdownIt  # noqa: E402 - of rich, which is a dependency
from rich.console import Console  # noqa: E402
from rich.text import Text  # noqa: E402

from chaoskit.model.verdict import Verdict  # noqa: E402
from chaoskit.registry import kinds  # noqa: E402
from chaoskit.store import load_run  # noqa: E402
from chaoskit.studies.suite import write_index  # noqa: E402
from tests.browser import Browser, Page  # noqa: E402

EXPERIMENT = "payments-black-holed"
HERE = Path(__file__).parent
SHEET = """
body { font: 15px/1.5 -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; margin: 24px 28px;
  max-width: 1000px; color: #1f2328 } h2 { border-bottom: 1px solid #d1d9e0; padding-bottom: 6px }
table { border-collapse: collapse; margin: 14px 0; font-size: 13px } th, td { border: 1px solid #d1d9e0;
  padding: 5px 11px }
tr:nth-child(even) { background: #f6f8fa } code { background: #eff1f3; padding: 2px 5px; border-radius: 5px }
"""


def main(arguments: list[str]) -> int:
    """0 where every picture was made."""
    with tempfile.TemporaryDirectory(prefix="chaoskit-pictures-") as scratch:
        store = Path(scratch) / "reports"
        terminal = _run(store)
        folder = _supported(store)
        _keep(folder)
        with Browser() as browser:
            _report(browser, folder / "report.html")
            _whole(browser, write_index(Path(arguments[0]) if arguments else store), "index.png", height=900)
            _whole(browser, _markdown(folder / "summary.md", Path(scratch)), "summary.png", width=1060)
            _whole(browser, _terminal(terminal, Path(scratch)), "terminal.png", width=1000)
    return 0


def _supported(store: Path) -> Path:
    """The latest supported run in the store, its page made afresh."""
    for folder in sorted((store / EXPERIMENT).glob("*-protected"), reverse=True):
        run, history = load_run(folder)
        if run.verdict is Verdict.SUPPORTED:
            for kind in ("html", "json", "junit", "markdown"):
                kinds("reporters")[kind]().write(run, history, folder)
            return folder
    sys.exit(f"no supported run of {EXPERIMENT} in {store}/")


def _keep(folder: Path) -> None:
    """The reports of that run, as the repository's sample."""
    sample = ROOT / "reports" / "sample"
    sample.mkdir(parents=True, exist_ok=True)
    for name in ("report.html", "result.json", "junit.xml", "summary.md"):
        text = (folder / name).read_text(encoding="utf-8")
        store = f"{folder.parents[2]}/"
        (sample / name).write_text(text.replace(f"{ROOT}/", "").replace(store, ""), encoding="utf-8")
        _say(sample / name)


def _run(store: Path) -> str:
    """Run both variants as a person at a terminal would, and return what it printed."""
    command = [sys.executable, "-m", "chaoskit", "run", f"experiments/{EXPERIMENT}.yaml", "--store", str(store)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"the runs did not come out as expected (exit {done.returncode}):\n{done.stdout}")
    return f"$ chaoskit run experiments/{EXPERIMENT}.yaml\n{done.stdout}".replace(str(store), "reports")


@contextmanager
def _page(browser: Browser, file: Path, **options: int | bool) -> Iterator[Page]:
    page = browser.page(**options)  # type: ignore[arg-type]  # passed on as they are
    page.open(file)
    yield page
    page.close()


def _report(browser: Browser, file: Path) -> None:
    """The first screen, the timeline, and both as a phone, a dark room and two sheets of paper show them."""
    with _page(browser, file, width=1200) as page:
        top = page.ask("document.getElementById('findings').getBoundingClientRect().top + scrollY")
        _say(page.picture(HERE / "report.png", height=float(str(top)) + 10))
        box = page.ask(
            "(() => { const top = document.getElementById('timeline').getBoundingClientRect().top;"
            " return [top, document.querySelector('.lanes').getBoundingClientRect().bottom - top]; })()"
        )
        assert isinstance(box, list)
        _say(page.picture(HERE / "timeline.png", top=box[0] - 10, height=box[1] + 20))
    with _page(browser, file, width=1200, dark=True) as page:
        _say(page.picture(HERE / "report-dark.png", height=900))
    with _page(browser, file, width=360) as page:
        _say(page.picture(HERE / "report-phone.png", height=1500))
    with _page(browser, file, width=718) as page:  # A4, with margins of 1 cm
        page.send("Emulation.setEmulatedMedia", {"media": "print"})
        _say(page.picture(HERE / "report-print.png", height=2 * 1046))
    with _page(browser, file, width=1200) as page:
        page.ask("document.querySelector('[data-evidence]').click()")
        top = page.ask("document.getElementById('timeline').getBoundingClientRect().top + scrollY")
        _say(page.picture(HERE / "evidence.png", top=float(str(top)) - 10, height=620))


def _whole(browser: Browser, file: Path, name: str, *, width: int = 1200, height: float = 0) -> None:
    with _page(browser, file, width=width) as page:
        full = float(str(page.ask("Math.ceil(document.body.getBoundingClientRect().bottom)"))) + 20
        _say(page.picture(HERE / name, height=min(full, height or full)))


def _markdown(file: Path, scratch: Path) -> Path:
    """The CI summary, as a code host renders it."""
    body = MarkdownIt("commonmark").enable("table").render(file.read_text(encoding="utf-8"))
    for sign, (colour, plain) in {"✅": ("#1a7f37", "✔"), "❌": ("#d1242f", "✘"), "⚠️": ("#9a6700", "⚠")}.items():
        body = body.replace(sign, f"<span style='color: {colour}'>{plain}</span>")  # not every machine has emoji
    page = scratch / "summary.html"
    page.write_text(f"<!doctype html><meta charset='utf-8'><style>{SHEET}</style>{body}", encoding="utf-8")
    return page


def _terminal(text: str, scratch: Path) -> Path:
    """What the command printed, in a window."""
    console = Console(record=True, width=124, file=(scratch / "ignored").open("w"))
    for line in text.splitlines():
        console.print(_coloured(line))
    page = scratch / "terminal.html"
    svg = console.export_svg(title="chaoskit", font_aspect_ratio=0.6)
    # No network for the picture either: rich's sheet asks for its font from one.
    sheet = "@font-face" in svg and svg[svg.index("@font-face") : svg.index(".terminal-")]
    page.write_text(f"<body style='margin: 8px'>{svg.replace(str(sheet), '') if sheet else svg}", encoding="utf-8")
    return page


def _coloured(line: str) -> Text:
    """The colours that a terminal would have shown."""
    text = Text(line)
    for sign, style in (("✓", "bold green"), ("✗", "bold red"), ("?", "bold yellow"), ("$", "bold")):
        if line.lstrip().startswith(f"{sign} "):
            text.highlight_regex(rf"^\s*\{sign}[^ ]* *\w*", style)
    return text


def _say(path: Path) -> None:
    sys.stdout.write(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1024:.0f} KiB\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
