"""A test phone: the device's side of the adb protocol over TCP on this machine, driven by the real `adb` client.

Messages (CNXN, OPEN, OKAY, WRTE, CLSE), the shell_v2 service and version 1 of the sync service, as AOSP documents them
in packages/modules/adb: protocol.txt, SYNC.TXT, SERVICES.TXT. Commands run in this machine's sh; a phone's folders in
them are those below `root`. No authentication, so it listens on 127.0.0.1 only.
"""

import contextlib
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

BANNER = b"device::ro.product.name=test;ro.product.model=Test Phone;ro.product.device=test;features=shell_v2"
VERSION, MAX_DATA = 0x01000001, 256 * 1024
PHONES_OWN = re.compile(r"(?<![\w/.])/(?=(?:data|sys|vendor|system)(?:/|\b)|proc/(?:cpuinfo|sys)\b)")
STDOUT, STDERR, EXIT = 1, 2, 3
FOLDER_MODE, FILE_MODE = 0o040755, 0o100644


@dataclass
class Faults:
    """What goes wrong; bytes count over all pushes."""

    unplug_after: int | None = None  # bytes
    full_after: int | None = None  # bytes
    stall_after: int | None = None  # bytes
    received: int = 0
    pushed: list = field(default_factory=list)  # paths
    scripts: list = field(default_factory=list)  # that the shell was given
    unplug_on: tuple | None = None  # a text, and which script with it is not even begun


class TestPhone:
    """Listens on a port of 127.0.0.1 until `close`."""

    __test__ = False

    def __init__(self, root):
        self.root = Path(root)
        self.faults = Faults()
        self.environment = {}  # of commands, beside this process's
        self.processes = []
        self._connections = []
        self._listener = None
        self.port = 0
        self.plug_in()

    def plug_in(self):
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def unplug(self):
        for one in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._connections.clear()

    def close(self):
        self.unplug()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def inside(self, path):
        return self.root / path.lstrip("/")

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else small answers wait 40 ms for an ACK
            self._connections.append(connection)
            threading.Thread(target=_Transport(self, connection).serve, daemon=True).start()


class _Transport:
    """One connection of adb's server."""

    def __init__(self, phone, connection):
        self.phone, self._connection = phone, connection
        self._lock = threading.Lock()
        self._streams = {}

    def serve(self):
        with contextlib.suppress(OSError, EOFError):
            while True:
                command, first, second, length = struct.unpack("<4s3I8x", self._read(24))
                self._handle(command, first, second, self._read(length))
        for stream in self._streams.values():
            stream.end()

    def _handle(self, command, first, second, data):
        if command == b"CNXN":
            self.send(b"CNXN", VERSION, MAX_DATA, BANNER)
        elif command == b"OPEN":
            stream = _Stream(self, len(self._streams) + 1, first)
            self._streams[stream.own] = stream
            threading.Thread(target=stream.serve, args=(data.rstrip(b"\0").decode(),), daemon=True).start()
        elif second in self._streams:
            stream = self._streams[second]
            if command == b"OKAY":
                stream.ready.set()
            elif command == b"WRTE":
                stream.inbox.put(data)
                self.send(b"OKAY", second, first)
            elif command == b"CLSE":
                stream.end()

    def send(self, command, first, second, data=b""):
        magic = struct.unpack("<I", command)[0] ^ 0xFFFFFFFF
        header = struct.pack("<4s5I", command, first, second, len(data), sum(data) & 0xFFFFFFFF, magic)
        with self._lock:
            self._connection.sendall(header + data)

    def _read(self, count):
        parts = bytearray()
        while len(parts) < count:
            part = self._connection.recv(count - len(parts))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)


class _Stream:
    """One service that the client opened."""

    def __init__(self, transport, own, other):
        self._transport, self.own, self._other = transport, own, other
        self.inbox, self.ready = queue.Queue(), threading.Event()
        self._rest, self._ended = b"", False

    def serve(self, service):
        with contextlib.suppress(OSError, EOFError):
            kind, _, rest = service.partition(":")
            if kind.split(",")[0] == "shell" and "v2" in kind.split(","):
                self._transport.send(b"OKAY", self.own, self._other)
                self._shell(rest)
            elif kind == "sync":
                self._transport.send(b"OKAY", self.own, self._other)
                self._sync()
            self._transport.send(b"CLSE", self.own, self._other)

    def end(self):
        self._ended = True
        self.inbox.put(None)
        self.ready.set()

    def _write(self, data):
        for start in range(0, len(data), MAX_DATA):
            self.ready.clear()
            self._transport.send(b"WRTE", self.own, self._other, data[start : start + MAX_DATA])
            self.ready.wait()
            if self._ended:
                raise EOFError

    def _read(self, count):
        while len(self._rest) < count:
            part = self.inbox.get()
            if part is None:
                raise EOFError
            self._rest += part
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def _shell(self, script):
        phone = self._transport.phone
        phone.faults.scripts.append(script)
        if phone.faults.unplug_on:
            text, count = phone.faults.unplug_on
            if sum(text in one for one in phone.faults.scripts) == count:
                phone.unplug()
                raise EOFError
        root = str(phone.root)
        path = f"{phone.root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        process = subprocess.Popen(
            ["/bin/sh", "-c", PHONES_OWN.sub(f"{root}/", script)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=phone.root,
            env=os.environ | phone.environment | {"PATH": path}, start_new_session=True,
        )  # fmt: skip
        phone.processes.append(process)
        lock = threading.Lock()

        def forward(stream, number):
            with contextlib.suppress(OSError, EOFError, ValueError):
                for line in stream:
                    text = line.replace(root.encode(), b"")
                    with lock:
                        self._write(struct.pack("<BI", number, len(text)) + text)

        readers = [
            threading.Thread(target=forward, args=pair, daemon=True)
            for pair in ((process.stdout, STDOUT), (process.stderr, STDERR))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        code = process.wait()
        process.stdout.close()
        process.stderr.close()
        self._write(struct.pack("<BIB", EXIT, 1, code if code >= 0 else 128 - code))

    def _sync(self):
        while True:
            command, length = struct.unpack("<4sI", self._read(8))
            if command == b"QUIT":
                return
            argument = self._read(length).decode()
            getattr(self, f"_{command.decode().lower()}")(argument)

    def _stat(self, path):
        file = self._transport.phone.inside(path)
        mode, size = (0, 0) if not file.exists() else _mode_and_size(file)
        self._write(struct.pack("<4s3I", b"STAT", mode, size, 0))

    def _list(self, path):
        folder = self._transport.phone.inside(path)
        for file in sorted(folder.iterdir()) if folder.is_dir() else []:
            name = file.name.encode()
            self._write(struct.pack("<4s4I", b"DENT", *_mode_and_size(file), 0, len(name)) + name)
        self._write(struct.pack("<4s4I", b"DONE", 0, 0, 0, 0))

    def _recv(self, path):
        file = self._transport.phone.inside(path)
        if not file.is_file():
            return self._fail("No such file or directory")
        data = file.read_bytes()
        for start in range(0, len(data), 65536):
            part = data[start : start + 65536]
            self._write(struct.pack("<4sI", b"DATA", len(part)) + part)
        self._write(struct.pack("<4sI", b"DONE", 0))

    def _send(self, target):
        phone, faults = self._transport.phone, self._transport.phone.faults
        path = target.rpartition(",")[0]
        parts, full = [], False
        while True:
            command, length = struct.unpack("<4sI", self._read(8))
            if command == b"DONE":
                break
            part = self._read(length)
            faults.received += len(part)
            if faults.unplug_after is not None and faults.received > faults.unplug_after:
                phone.unplug()
                raise EOFError
            if faults.stall_after is not None and faults.received > faults.stall_after:
                self._read(1 << 62)  # never there; ends when the client gives up
            full = full or (faults.full_after is not None and faults.received > faults.full_after)
            parts.append(part)
        file = phone.inside(path)
        if full:
            file.write_bytes(b"".join(parts)[:1000])  # a phone leaves what it got
            return self._fail("couldn't write file: No space left on device")
        try:
            file.write_bytes(b"".join(parts))
        except OSError as error:
            return self._fail(f"couldn't create file: {error.strerror}")
        faults.pushed.append(path)
        self._write(struct.pack("<4sI", b"OKAY", 0))

    def _fail(self, message):
        self._write(struct.pack("<4sI", b"FAIL", len(message)) + message.encode())


def _mode_and_size(file):
    return (FOLDER_MODE, 4096) if file.is_dir() else (FILE_MODE, file.stat().st_size)
