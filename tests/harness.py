"""A harness to kill: starts a guardian, launches what resists, prints one JSON line of what it started, and waits.

python tests/harness.py RUN [due=SECONDS] [folder=PATH] [pause] [lines of `sh` to launch…]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chaoskit.deployers.process import DataFolder
from chaoskit.deployers.replica import Continue
from chaoskit.guardian_client import Guardian
from chaoskit.interfaces import LaunchSpec
from chaoskit.model.undo import Undo
from chaoskit.processes import identify


def main() -> None:
    run, *words = sys.argv[1:]
    options = dict(word.split("=", 1) for word in words if word.split("=", 1)[0] in ("due", "folder"))
    scripts = [word for word in words if word.split("=", 1)[0] not in ("due", "folder", "pause")]
    with Guardian(run, label="a harness to kill") as guardian:
        children = [
            guardian.launch(LaunchSpec(name=f"s{number}", argv=("sh", "-c", script), env=dict(os.environ)))
            for number, script in enumerate(scripts)
        ]
        if "folder" in options:
            undo = Undo(id="folder", owner=DataFolder.kind, args={"folder": options["folder"]})
            guardian.will_undo(undo)
            Path(options["folder"]).mkdir()
        if "pause" in words:
            identity = identify(children[0].pid)
            assert identity is not None
            due = time.monotonic() + float(options["due"]) if "due" in options else None
            args = {"replica": "s0", "processes": [list(identity)]}
            guardian.will_undo(Undo(id="pause", owner=Continue.kind, args=args, due=due))
            children[0].signal(signal.SIGSTOP, tree=False)
        said = {"guardian": guardian.pid, "children": [child.pid for child in children]}
        print(json.dumps(said), flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            while guardian.alive():
                time.sleep(0.05)
        except KeyboardInterrupt:
            pass
        print(json.dumps({"lost": guardian.lost}), flush=True)
    print(json.dumps({"left": guardian.left}), flush=True)


if __name__ == "__main__":
    main()
