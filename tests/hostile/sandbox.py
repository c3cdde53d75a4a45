"""The servers that hostile cases run in, one without torch and one with it, each started when it is needed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from bilayer.cli import COMMANDS
from tests.hostile.case import MEMORY, SECONDS, Outcome

ROOT = Path(__file__).parents[2]
_LIGHT = ("render", "device")
_WARM = {
    False: ("bilayer.runtime.cli", "bilayer.runtime.rendering", "bilayer.runtime.player", "bilayer.android_harness.cli",
            "bilayer.runtime.media.photo", "bilayer.runtime.media.video", "bilayer.runtime.media.writers",
            "bilayer.runtime.face.mediapipe", "bilayer.runtime.motion.poses", "bilayer.android_harness.report.tables",
            "bilayer.android_harness.report.pictures", "onnxruntime"),
    True: ("bilayer.export.cli", "bilayer.export.pipeline", "bilayer.export.dlc.read", "bilayer.export.dlc.check",
           "bilayer.model.cli", "bilayer.benchmarks.parity.ladder", "bilayer.benchmarks.parity.cli", "onnxruntime",
           "bilayer.training.cli", "bilayer.training.loop", "bilayer.training.build", "bilayer.training.prepare.cli",
           "bilayer.training.prepare.check", "bilayer.training.prepare.videos", "bilayer.training.evaluate.cli",
           "bilayer.training.evaluate.frames"),
}  # fmt: skip


class Sandbox:
    """Runs cases one at a time; use as a context."""

    def __init__(self, goods):
        self._goods, self._servers = goods, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self._servers.values():
            server.stdin.close()
            server.wait()
            server.stdout.close()

    def run(self, case, place):
        """How the case ended, met in a new folder below `place`."""
        folder, log = place / "here", place / "log"
        folder.mkdir()
        log.mkdir()
        words = [str(word) for word in case.lay(self._goods, folder)]
        before = _listed(folder)
        job = {
            "module": COMMANDS[case.command][0], "command": case.command, "words": words, "folder": str(folder),
            "log": str(log), "memory": MEMORY, "seconds": SECONDS, "environment": {"ADB": str(folder / "adb")},
        }  # fmt: skip
        server = self._server(case.command not in _LIGHT)
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        left = _listed(folder) - before
        if answer["code"] == 0 or case.begun:
            left = {name for name in left if not name.startswith("out")}
        left |= {f"$TMPDIR/{name}" for name in _listed(log / "tmp") if not name.startswith("torchinductor_")}
        out, err = ((log / name).read_text("utf-8", "replace") for name in ("stdout", "stderr"))
        return Outcome(out=out, err=err, left=tuple(sorted(left)), **answer)

    def _server(self, torch):
        if torch not in self._servers:
            warm = [name for name in _WARM[torch] if importlib.util.find_spec(name)]
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.server", *warm],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert server.stdout.readline() == "ready\n"
            self._servers[torch] = server
        return self._servers[torch]


def _listed(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")} if folder.is_dir() else set()
