"""Runs commands, each in a forked child of this process, which has imported everything and computed nothing.

    python -m tests.hostile.server MODULE...

Reads one job a line from stdin (JSON: module, words, folder, log, memory, seconds) and answers with a line each. A cold
interpreter with torch takes seconds, a fork a hundredth of one. Threads do not survive a fork: so nothing is computed
here, where libraries would start theirs.
"""

import atexit
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path


def _be_the_command(job):
    """Never comes back."""
    code = 1
    try:
        os.setsid()
        os.chdir(job["folder"])
        log = Path(job["log"])
        for descriptor, name in ((0, os.devnull), (1, log / "stdout"), (2, log / "stderr")):
            opened = os.open(name, os.O_RDWR | (os.O_CREAT if descriptor else 0), 0o600)
            os.dup2(opened, descriptor)
            os.close(opened)
        (log / "tmp").mkdir()
        os.environ.update(TMPDIR=str(log / "tmp"), **job["environment"])
        resource.setrlimit(resource.RLIMIT_AS, (job["memory"], job["memory"]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        importlib.import_module(job["module"]).main(job["words"], prog_name="bilayer-" + job["command"])
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


def run(job):
    """Exit code (negative: of a signal; of SIGKILL for one that took too long), seconds, and peak in MB."""
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(job)
    ended = os.pidfd_open(child)
    if not select.select([ended], [], [], job["seconds"])[0]:
        os.killpg(child, signal.SIGKILL)
    os.close(ended)
    _, status, used = os.wait4(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": round(time.monotonic() - begun, 2),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def main():
    for module in sys.argv[1:]:
        importlib.import_module(module)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
