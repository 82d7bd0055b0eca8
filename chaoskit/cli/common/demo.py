"""The demo that ships with chaoskit: where it lies, and how it is written into a folder of the user's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from chaoskit.errors import MissingPart, UsageError

__all__ = ["demo_files", "write_demo"]

_NEVER = {"__pycache__"}


def demo_files() -> dict[Path, Path]:
    """Relative path → source, of the target `shop` and its experiments. Raises MissingPart."""
    package = Path(__file__).parent.parent.parent
    in_wheel, in_clone = package / "demo", package.parent
    # A clone comes first: what is installed from it in place may hold an older copy.
    root = in_clone if (in_clone / "targets" / "shop" / "target.yaml").is_file() else in_wheel
    files = dict(_walk(root, ("targets/__init__.py", "targets/shop", "experiments")))
    if not files:
        raise MissingPart(
            "this installation of chaoskit has no demo in it", hint="pip install --force-reinstall chaoskit"
        )
    return files


def _walk(root: Path, places: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    for place in places:
        path = root / place
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and not _NEVER & set(file.parts) and (place != "experiments" or _on_shop(file)):
                yield file.relative_to(root), file


def _on_shop(file: Path) -> bool:
    """Whether an experiment asks about the shop: there may be others beside it."""
    return re.search(r"^target: shop$", file.read_text(encoding="utf-8"), re.MULTILINE) is not None


def write_demo(folder: Path, *, force: bool) -> list[Path]:
    """Write the demo below `folder` and return what was written. Raises UsageError where files of other content are in
    the way (all of them named, nothing written)."""
    files = demo_files()
    odd = [
        relative
        for relative, source in files.items()
        if (folder / relative).exists() and (folder / relative).read_bytes() != source.read_bytes()
    ]
    if odd and not force:
        named = ", ".join(str(folder / one) for one in odd[:5]) + (" …" if len(odd) > 5 else "")
        raise UsageError(
            f"{len(odd)} file{'s' if len(odd) > 1 else ''} of other content in the way: {named}",
            hint="--force writes over them; or name another folder",
        )
    written = []
    for relative, source in files.items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        written.append(path)
    return written
