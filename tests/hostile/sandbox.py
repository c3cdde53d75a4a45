"""The servers that hostile cases run in, one without torch and one with it, each started when it is needed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from bilayer.entry import COMMANDS
from tests.hostile.case import MEMORY, SECONDS, Outcome

ROOT = Path(__file__).parents[2]
_BOTH = ("bilayer.runtime.sampler.compositor", "bilayer.runtime.media.photo", "bilayer.runtime.media.video",
         "bilayer.runtime.media.writers", "bilayer.runtime.face.mediapipe", "bilayer.runtime.rendering.outputs",
         "bilayer.android_harness.cli_setup", "bilayer.android_harness.bench.session", "onnxruntime",
         "pillow_heif")  # fmt: skip
# Numba is for the one without torch: both together leave a case too little of its address space
_WARM = {
    False: ("bilayer.runtime.rendering.cli", "bilayer.runtime.rendering.render", "bilayer.runtime.player",
            "bilayer.runtime.rendering.live", "bilayer.runtime.sampler.numba_kernels",
            "bilayer.runtime.engines.onnx_runtime", "bilayer.runtime.engines.openvino", "bilayer.android_harness.cli",
            "bilayer.android_harness.bench.playing", "bilayer.android_harness.report.tables",
            "bilayer.android_harness.report.pictures", "jinja2", "matplotlib.figure",
            "matplotlib.backends.backend_svg", "openvino", "safetensors.numpy"),
    True: ("bilayer.export.cli", "bilayer.export.pipeline", "bilayer.export.dlc.read", "bilayer.export.dlc.check",
           "bilayer.export.bulk.cli", "bilayer.export.bulk.work", "bilayer.export.tflite.show",
           "bilayer.export.inspect.bundle_show", "bilayer.export.inspect.onnx_show", "bilayer.export.integers.rules",
           "bilayer.model.cli", "bilayer.benchmarks.parity.ladder", "bilayer.benchmarks.parity.cli",
           "bilayer.benchmarks.parity.asked", "bilayer.benchmarks.parity.many",
           "bilayer.training.cli", "bilayer.training.loop", "bilayer.training.build", "bilayer.training.prepare.cli",
           "bilayer.training.prepare.check", "bilayer.training.prepare.videos", "bilayer.training.evaluate.cli",
           "bilayer.training.evaluate.frames"),
}  # fmt: skip


class Servers:
    """Two processes that run commands, one at a time; use as a context.

    Args:
        also: modules that they import beside those that hostile cases need, which have little memory.
        light: the commands for the one without torch.
        environment: of theirs, beside this process's.
    """

    def __init__(self, also=(), light=("render", "device"), **environment):
        self._also, self._light, self._own, self._servers = also, light, environment, {}
        self.environment = {}  # that they start with

    def __enter__(self):
        self.environment = {**os.environ, **self._own}
        return self

    def __exit__(self, *_):
        while self._servers:
            _, server = self._servers.popitem()
            server.stdin.close()
            server.wait()
            server.stdout.close()

    def run(
        self, command, words, folder, temporary=None, *, memory=None, seconds=SECONDS, environment=None, unset=(),
        strict=False, fault=None,
    ):  # fmt: skip
        """What server.py answers to a command in `folder`, with a new folder `temporary` for its temporary files."""
        job = {
            "module": COMMANDS[command][0], "command": command, "words": [str(word) for word in words],
            "folder": str(folder), "temporary": temporary and str(temporary), "memory": memory, "seconds": seconds,
            "environment": environment or {}, "unset": list(unset), "strict": strict, "fault": fault,
        }  # fmt: skip
        server = self._server(command not in self._light)
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    def _server(self, torch):
        if torch not in self._servers:
            warm = [name for name in (*_BOTH, *_WARM[torch], *self._also) if importlib.util.find_spec(name)]
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.server", *warm], cwd=ROOT, env=self.environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert server.stdout.readline() == "ready\n"
            self._servers[torch] = server
        return self._servers[torch]


class Sandbox:
    """Runs hostile cases."""

    def __init__(self, servers, goods):
        self._servers, self._goods = servers, goods

    def meet(self, case, place):
        """How the case ended, met in a new folder below `place`."""
        folder, temporary = place / "here", place / "tmp"
        folder.mkdir()
        words = case.lay(self._goods, folder)
        before = listed(folder)
        environment = {"ADB": str(folder / "adb")}
        answer = self._servers.run(case.command, words, folder, temporary, memory=MEMORY, environment=environment)
        left = listed(folder) - before
        if answer["code"] == 0 or case.begun:
            left = {name for name in left if not name.startswith("out")}
        left |= {f"$TMPDIR/{name}" for name in listed(temporary) if not name.startswith("torchinductor_")}
        return Outcome(left=tuple(sorted(left)), **answer)


def listed(folder):
    """Names of all that lies in a folder, from there."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")} if folder.is_dir() else set()
