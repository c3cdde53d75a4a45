"""Runs commands, each in a forked child of this process, which has imported everything and computed nothing.

    python -m tests.hostile.server MODULE...

Reads one job a line from stdin (JSON: module, command, words, folder, temporary, memory, seconds, environment, unset,
strict, fault) and answers with a line each. A cold interpreter with torch takes seconds, a fork a hundredth of one.
Threads do not survive a fork: so nothing is computed here, where libraries would start theirs.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import sys
import time
import traceback
import warnings
import weakref
from io import FileIO, TextIOWrapper
from pathlib import Path

from PIL import Image


def _be_the_command(job, ends):
    """Never comes back."""
    code = 1
    try:
        os.setsid()
        os.chdir(job["folder"])
        for descriptor, opened in enumerate((os.open(os.devnull, os.O_RDONLY), *ends)):
            os.dup2(opened, descriptor)
            os.close(opened)
        # The former ones may take their descriptors for files, in which they would seek
        sys.stdout, sys.stderr = (TextIOWrapper(FileIO(end, "w"), "utf-8", line_buffering=True) for end in (1, 2))
        for name in job["unset"]:
            os.environ.pop(name, None)
        os.environ.update(job["environment"])
        if job["temporary"]:
            Path(job["temporary"]).mkdir()
            os.environ["TMPDIR"] = job["temporary"]
        if "torch" in sys.modules and "OMP_NUM_THREADS" in job["environment"]:  # which its library has read already
            sys.modules["torch"].set_num_threads(int(job["environment"]["OMP_NUM_THREADS"]))
        if job["strict"]:  # as python -W error, for processes that it starts, too
            sys.warnoptions[:] = ["error"]
            warnings.simplefilter("error")
        if job["memory"]:
            resource.setrlimit(resource.RLIMIT_AS, (job["memory"], job["memory"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if job["fault"]:  # tests/interrupted/interpose.c, which is preloaded
            os.environ.update({f"INTERPOSED_{name.upper()}": str(value) for name, value in job["fault"].items()})
            ctypes.CDLL(None).arm_from_environment()
        sys.argv = ["bilayer-" + job["command"], *job["words"]]
        importlib.import_module(job["module"]).main(job["words"], prog_name=sys.argv[0])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _read(pipes, ended, seconds):
    """What comes out of the pipes until the process has ended, each; None where it takes longer."""
    texts, end = {pipe: bytearray() for pipe in pipes}, time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for one in (*pipes, ended):
            selector.register(one, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0:
            ready = [key.fd for key, _ in selector.select(left)]
            for pipe in texts.keys() & ready:
                texts[pipe] += (part := os.read(pipe, 1 << 16))
                if not part:
                    selector.unregister(pipe)
            if ready == [ended]:  # and nothing more came: a child that it left may hold them open
                return list(texts.values())
    return None


def run(job):
    """How the command ended, what it printed, and what it took. Negative codes are signals; of SIGKILL, too slow."""
    begun = time.monotonic()
    pipes = [os.pipe() for _ in range(2)]
    child = os.fork()
    if child == 0:
        _be_the_command(job, [end for _, end in pipes])
    for _, end in pipes:
        os.close(end)
    ended = os.pidfd_open(child)
    texts = _read([end for end, _ in pipes], ended, job["seconds"])
    if texts is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    for one in (*(end for end, _ in pipes), ended):
        os.close(one)
    _, status, used = os.wait4(child, 0)
    out, err = (text.decode("utf-8", "replace") for text in texts or (b"", b"took too long"))
    return {
        "code": os.waitstatus_to_exitcode(status),
        "out": out,
        "err": err,
        "seconds": round(time.monotonic() - begun, 2),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def main():
    for module in sys.argv[1:]:
        importlib.import_module(module)
    Image.init()  # imports its formats
    if registry := sys.modules.get("numba.core.registry"):
        for context in (registry.cpu_target.typing_context, registry.cpu_target.target_context):
            context.refresh()  # imports what Numba compiles by
    for ending in weakref.finalize._registry:
        ending.atexit = False  # what torch registered here would be undone in each child again: 35 ms
    gc.freeze()  # a collection in a child would touch, and so copy, all that it shares with this process
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
