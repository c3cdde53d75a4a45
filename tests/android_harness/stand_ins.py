"""Programs that stand in for others, forked off a process that has imported their libraries: else each start takes half
a second, and a benchmark starts a dozen.

What is started is a Python that loads next to nothing: it hands arguments, environment, folder and files to the server,
waits for the fork's end, and ends as that did. A fork whose program was killed is killed as well.
"""

import contextlib
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
WARM = ("argparse", "numpy", "onnxruntime", "ncnn", "ai_edge_litert.interpreter")
_PROGRAM = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    job = json.dumps([{source!r}, sys.argv, dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(server, [len(job).to_bytes(4, "little")], [0, 1, 2])
    server.sendall(job)
    code = int(server.recv(9))
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


class StandIns:
    """Writes such programs; use as a context. The server is started with the first."""

    def __init__(self):
        self._folder, self._server = None, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._server is not None:
            self._server.stdin.close()
            self._server.wait()
            self._server.stdout.close()
            self._folder.cleanup()

    def write(self, path, source):
        """The program `path`, of the Python in `source`, a file of this folder."""
        if self._server is None:
            self._folder = tempfile.TemporaryDirectory(prefix="stand-ins-", dir="/tmp")  # a short path, as sockets need
            address = f"{self._folder.name}/server"
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.android_harness.stand_ins", address], cwd=ROOT, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            assert self._server.stdout.readline() == b"ready\n"
        address = f"{self._folder.name}/server"
        source = str(Path(__file__).with_name(source))
        path.write_text(_PROGRAM.format(python=sys.executable, address=address, source=source))


PROGRAMS = StandIns()  # of this process; conftest.py ends it


def main():
    """Serve at a path until the standard input is closed."""
    for name in WARM:
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for what follows
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    keep(connection)
                    os._exit(0)


def keep(connection):
    """Fork what a program asks for, and tell it how that ended; kill that if the program is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, files, _, _ = socket.recv_fds(connection, 4, 3)
    job = b""
    while len(job) < int.from_bytes(length, "little"):
        part = connection.recv(1 << 20)
        if not part:
            return
        job += part
    child = os.fork()
    if child == 0:
        connection.close()
        become(files, *json.loads(job))
    ended = os.pidfd_open(child)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(str(code).encode())


def become(files, source, words, environment, folder):
    """Run a source as Python runs it as a program."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = words
    code = 1
    try:
        exec(compile(Path(source).read_bytes(), source, "exec"), {"__name__": "__main__"})  # runpy changes sys.argv
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
