"""One command, interrupted at one of the calls by which it changes files; and what must be so then."""

import hashlib
import shutil
import subprocess
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from tests.hostile.case import OTHER_LINES
from tests.hostile.goods import Goods
from tests.hostile.sandbox import listed
from tests.interrupted.commands import OUT, hidden, visible

HERE = Path(__file__).parent
LIBRARY = "interpose.so"
WARM = ("bilayer.runtime.sampler.numba_kernels", "bilayer.training.heads.render", "bilayer.runtime.rendering.render",
        "bilayer.runtime.engines.onnx_runtime", "bilayer.runtime.face.person_mask", "bilayer.benchmarks.report.charts",
        "bilayer.benchmarks.parity.pictures", "bilayer.android_harness.report.tables", "torch._dynamo",
        "torch.utils.tensorboard", "scipy.linalg", "jinja2", "matplotlib.figure")  # fmt: skip
ENDED = {"kill": -9, "term": 143}


class MoreGoods(Goods):
    """Further right inputs."""

    @cached_property
    def film(self):
        """A face that moves, 8 frames."""
        from skimage import data

        from bilayer.runtime.media.writers import open_writer

        photo, path = data.astronaut(), self.folder / "film.mp4"
        with open_writer(path, 25.0) as writer:
            for step in range(4):
                picture = np.roll(photo, 3 * step, axis=1)
                writer.write(np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)]))
        return path

    @cached_property
    def frames(self):
        """Training data of 64 px: three people to train on, one held out, with the frames that validation asks for."""
        from tests.training.written_frames import write_data

        root = self.folder / "frames"
        write_data(root, sequences=3, frames=3, size=64)
        write_data(root, sequences=1, frames=6, size=64, split="test")
        return root

    @cached_property
    def checkpoint64(self):
        """A model of 64 px, as the data is."""
        from bilayer.model.checkpoint import save_checkpoint
        from bilayer.model.config import AVATAR_NETWORKS
        from bilayer.model.networks.bilayer import random_model
        from tests.training import tiny

        path, model = self.folder / "model64.safetensors", random_model(tiny.CONFIG, 0, AVATAR_NETWORKS)
        tensors = {name: model.get_submodule(name).state_dict() for name in AVATAR_NETWORKS}
        save_checkpoint(path, tiny.CONFIG, tensors)
        return path

    @cached_property
    def settings(self):
        """Of a run of 3 iterations that keeps its state after 2 and at its end."""
        from tests.training import tiny

        schedule = {"iterations": 3, "validate_every": 3, "pictures_every": 3}
        return tiny.toml(data={"root": str(self.frames)}, optimisation={"average": 0.5}, schedule=schedule)

    @cached_property
    def begun_run(self):
        """The folder of that run, stopped after 2 iterations."""
        from bilayer.training.cli import main

        config, out = self.folder / "begun.toml", self.folder / "begun"
        config.write_text(self.settings)
        words = ["base", "--config", config, "--data", self.frames, "--out", out, "--device", "cpu", "--no-validate"]
        done = CliRunner().invoke(main, [str(word) for word in [*words, "--iterations", 2]])
        assert done.exit_code == 0, done.stderr
        return out


def compile_library(folder):
    """The library that interrupts; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    path = folder / LIBRARY
    source = HERE / "interpose.c"
    subprocess.run([compiler, "-std=gnu11", "-O1", "-shared", "-fPIC", "-o", path, source, "-ldl"], check=True)
    return path


@dataclass(frozen=True)
class Met:
    """How a command ended."""

    code: int
    out: str
    err: str
    reached: bool  # the call at which it was to be interrupted
    calls: int  # that it made


class Interruptions:
    """Runs commands, each in a folder of its own; use with servers that have the library preloaded."""

    def __init__(self, servers, goods, folder):
        self._servers, self._goods, self._folder = servers, goods, folder
        self._whole = {}  # by command: its folder and calls, undisturbed
        self._gone_on = {}  # by what a failed run left: what is wrong after another one

    def _run(self, command, folder, words, number, action, **more):
        counter = folder / "count"
        counter.write_bytes(bytes(8))
        temporary = folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        (folder / "here" / OUT).mkdir(exist_ok=True)
        places = [folder / "here" / OUT, *([temporary] if action == "full" else [])]
        fault = {"places": ":".join(map(str, places)), "number": number, "action": action, "count": counter, **more}
        answer = self._servers.run(
            command.program, words, folder / "here", temporary, seconds=3000 if more else 120,
            environment={"OMP_NUM_THREADS": "1", **command.environment}, fault={k: str(v) for k, v in fault.items()},
        )  # fmt: skip
        calls = int.from_bytes(counter.read_bytes(), "little")
        return Met(answer["code"], answer["out"], answer["err"], 0 < number <= calls, calls)

    def lay(self, command, name):
        """A new folder with what the command takes, and its words."""
        folder = self._folder / name
        (folder / "here").mkdir(parents=True)
        return folder, command.lay(self._goods, folder / "here")

    def whole(self, command, action):
        """The folder that the undisturbed command fills, and how many calls it makes."""
        key = command.name, action == "full"
        if key not in self._whole:
            folder, words = self.lay(command, f"{command.name}-{action}-whole")
            done = self._run(command, folder, words, 0, action)
            assert done.code == 0, (command.name, done.err[-2000:])
            assert not hidden(folder / "here" / OUT)
            self._whole[key] = folder / "here" / OUT, done.calls
        return self._whole[key]

    def meet(self, command, number, action):
        """Interrupt the command at a call; what is wrong then, in words; empty where nothing is."""
        folder, words = self.lay(command, f"{command.name}-{action}-{number}")
        before = visible(folder / "here" / OUT)
        done = self._run(command, folder, words, number, action)
        return self._judged(command, folder, words, before, done, number, action)

    def fill_disk_everywhere(self, command):
        """Meet the command with a full disk at each of its calls; yields whether a run of its own told, and what is
        wrong then: where a copy would not be the same (the call is another thread's or process's), or is found wrong.
        """
        for number, copy in self.copies(command):
            found = ["no copy"]
            if copy:
                done, folder, words, before = copy
                found = self._judged(command, folder, words, before, done, number, "full")
            yield bool(found), self.meet(command, number, "full") if found else []

    def copies(self, command):
        """Run a command once. At each call a copy of it fails, in a view of its own: interpose.c. Yields the call's
        number, how the copy ended, its folder, the command's words, and what was there before; of no copy None.
        """
        folder, words = self.lay(command, f"{command.name}-copied")
        forks = self._folder / f"{command.name}-forks"
        forks.mkdir()
        done = self._run(command, folder, words, 0, "full", forks=forks, view=folder)
        assert done.code == 0, done.err[-2000:]
        (whole, _), here = self.whole(command, "full"), folder / "here" / OUT
        if command.same:
            command.same(here, whole)
        else:
            assert not _differences(command, visible(here), visible(whole), "disturbed by its copies: ")
        for number in range(1, done.calls + 1):
            place = forks / str(number)
            yield number, self._copy(command, place, number) if (place / "code").exists() else None
            shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(folder)
        shutil.rmtree(forks)

    def _copy(self, command, place, number):
        printed = (place / f"printed.{stream}" for stream in (1, 2))
        out, err = (path.read_text() if path.exists() else "" for path in printed)
        folder, words = self.lay(command, f"{command.name}-copy-{number}")
        before = visible(folder / "here" / OUT)
        shutil.rmtree(folder / "here" / OUT, ignore_errors=True)
        for left, name in (("out", Path("here", OUT)), ("tmp", Path("tmp"))):
            if (place / left).exists():
                (place / left).rename(folder / name)
        return Met(int((place / "code").read_text()), out, err, True, number), folder, words, before

    def run_to(self, command, number):
        """As a copy at that call: how a run of its own ends, and its folder."""
        folder, words = self.lay(command, f"{command.name}-alone-{number}")
        return self._run(command, folder, words, number, "full"), folder

    def _judged(self, command, folder, words, before, done, number, action):
        whole, _ = self.whole(command, action)
        out, after = folder / "here" / OUT, visible(whole)
        found = [*_wrong_ending(command, done, action), *_wrong_files(command, out, before, after, done, action)]
        if action != "kill" and (left := [n for n in listed(folder / "tmp") if not n.startswith("torchinductor_")]):
            found.append(f"left in $TMPDIR: {left[:3]}")
        if command.goes_on or action == "kill":
            state = command.name, action == "full", _contents(command, out)
            if action == "kill" or state not in self._gone_on:
                self._gone_on[state] = self._wrong_after_another(command, folder, words, whole, action)
            found += self._gone_on[state]
        shutil.rmtree(folder)
        return [f"{command.name}, {action} at {number}: {words}" for words in found]

    def _wrong_after_another(self, command, folder, words, whole, action):
        """What is wrong after the same command has run once more, undisturbed."""
        found, out, after = [], folder / "here" / OUT, visible(whole)
        again = self._run(command, folder, words, 0, action)
        if "is there already" in again.err and visible(out) == after:  # which it then is, whole
            again = replace(again, code=0)
        if again.code != 0:
            found.append(f"does not go on: {again.err[-500:]}")
        elif command.same:
            command.same(out, whole)
        else:
            found += _differences(command, visible(out), after, "after another run ")
        if hidden(out):
            found.append(f"another run leaves {hidden(out)[:3]}")
        return found


def _contents(command, out):
    """A hash of all that a folder holds, but what is another in each run."""
    digest = hashlib.sha256()
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if name.startswith("tensorboard/"):
            continue  # named by the time
        content = path.read_bytes() if path.is_file() and not command.varies(name) else b""
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _wrong_ending(command, done, action):
    found = []
    if "Traceback" in done.err + done.out:
        found.append(f"a traceback: {done.err[-1500:]}")
    lines = [line for line in done.err.splitlines() if line.strip()]
    if action in ENDED:
        ended = (ENDED[action], 0) if command.replaces and action == "term" else (ENDED[action],)
        if done.code not in (ended if done.reached else (0,)):
            found.append(f"exit code {done.code}: {done.err[-500:]}")
    elif done.code == 3:
        errors = [line for line in lines if line.startswith("error: ")]
        others = [line for line in lines if not OTHER_LINES.match(line)]
        if len(errors) != 1 or lines[-1] != errors[0] or others:
            found.append(f"not one line at the end: {done.err[-500:]}")
    elif done.code != 0:
        found.append(f"exit code {done.code}: {done.err[-500:]}")
    return found


def _of_part(contents, part):
    return {name: content for name, content in contents.items() if name.startswith(part)}


def _wrong_files(command, out, before, after, done, action):
    """What lies there now is what was there before or what the whole command writes, each file; and all, at its end."""
    here, found = visible(out), []
    if action == "full" and "not by its usual names" in done.err:  # which is told
        command.look(out)
        return []
    try:
        command.look(out)
    except Exception as error:
        found.append(f"not whole: {type(error).__name__}: {str(error)[:300]}")
    if done.code == 0:
        return found + ([] if command.same else _differences(command, here, after, ""))
    for name in sorted(before.keys() - here.keys()):
        # Ended past its switch, a new avatar is whole, and has fewer files; with a full disk its part is as it ends
        parts = [part for part in command.parts if name.startswith(part)]
        whole = any(_of_part(here, part) == _of_part(after, part) for part in parts)
        if name in after or (action == "full" and not (len(command.parts) > 1 and whole)):
            found.append(f"{name} is gone")
    if not command.same:
        for name, content in here.items():
            passing = command.passing and name.endswith(command.passing)
            free = command.varies(name) or (action == "kill" and passing)
            if content not in (before.get(name), after.get(name)) and not free:
                found.append(f"{name} is neither the former nor the new one")
    if action != "kill":
        for part in command.parts if not command.goes_on else ():
            new = {name for name in after if name.startswith(part) and here.get(name) != before.get(name)}
            if new and _differences(command, *({n: f[n] for n in f if n.startswith(part)} for f in (here, after)), ""):
                found.append(f"{sorted(new)[:5]} of an output that is not whole")
        if hidden(out):
            found.append(f"drafts are left: {hidden(out)[:3]}")
    return found


def _differences(command, here, there, when):
    found = [f"{when}{name} is there and should not be" for name in sorted(here.keys() - there.keys())]
    found += [f"{when}{name} is not there" for name in sorted(there.keys() - here.keys())]
    both = sorted(here.keys() & there.keys())
    return found + [f"{when}{name} differs" for name in both if here[name] != there[name] and not command.varies(name)]
