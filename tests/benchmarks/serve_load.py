"""Mixed good and hostile load on `bilayer-serve`: what was answered, how soon, and what memory it held meanwhile.

python -m tests.benchmarks.serve_load --minutes 30 --out load.json
"""

import http.client
import io
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageEnhance

from tests.hostile.families.photos import CASES
from tests.hostile.goods import Goods

TOKEN = secrets.token_hex(16)
MOST = 24 << 20  # bytes of a hostile photo that is sent
CHARSETS = ("utf-7", "unicode_escape", "utf-16", "idna", "zlib", "undefined", "no such")
JPEG = "Content-Type: image/jpeg"


class Load:
    """A server, and what it answered."""

    def __init__(self, port, seed):
        self.port, self.random = port, random.Random(seed)
        self.answers = defaultdict(list)  # (status or what else, seconds) by kind
        self.surprises = []
        self.lock = threading.Lock()
        from skimage import data

        self.person = Image.fromarray(data.astronaut())
        self.sent = [self.photo()]
        self.hostile = [b"GIF89a"]

    def make_hostile(self):
        """More hostile photos, while those there are are sent."""
        for photo in hostile_photos():
            time.sleep(1)  # the server is what is to be kept busy
            with self.lock:
                self.hostile.append(photo)

    def photo(self):
        """The astronaut, in a light and a frame of its own: another key each time."""
        light = ImageEnhance.Brightness(self.person).enhance(self.random.uniform(0.8, 1.15))
        left, top, right, low = (self.random.randrange(0, 40) for _ in range(4))
        file = io.BytesIO()
        light.crop((left, top // 4, 512 - right, 512 - low)).save(file, "JPEG", quality=self.random.randrange(80, 96))
        return file.getvalue()

    def send(self, body, kind="image/jpeg", path="/avatars", method="POST", token=TOKEN, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=200)
        try:
            connection.request(
                method, path, body, {"Authorization": f"Bearer {token}", "Content-Type": kind, **headers}
            )
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 400 and b"Traceback" in content:
            self.surprises.append(content[:300].decode(errors="replace"))
        for place in (b"/tmp", b"/root", b"/home", b".venv"):
            if answer.status >= 400 and place in content:
                self.surprises.append(content[:300].decode(errors="replace"))
        return answer.status

    def raw(self, *pieces, pause=0.0, read=True):
        """Bytes on a socket; the status of what comes back, or closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
                if not read:
                    return "left"
                head = connection.recv(65536)
            except (ConnectionError, TimeoutError):
                return "closed"
            return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else "closed"

    def head(self, *lines):
        return "\r\n".join(
            ["POST /avatars HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", *lines, "", ""]
        ).encode()

    def kinds(self):
        pick = self.random
        form = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
        odd = form.replace(b'"photo"', b'"+2AA-\\\\ud800"') + b"x\r\n--x--\r\n"

        def good():
            photo = self.photo()
            with self.lock:
                self.sent = [*self.sent[-20:], photo]
            return self.send(photo)

        def chunks():
            return (b"\0" * 65536 for _ in range(640))

        return {
            "good": (6, good),
            "good again": (6, lambda: self.send(pick.choice(self.sent))),
            "hostile photo": (10, lambda: self.send(pick.choice(self.hostile), "application/octet-stream")),
            "cut short": (2, lambda: self.send((photo := self.photo())[: pick.randrange(1, len(photo))])),
            "no face": (1, lambda: self.send(noise(pick.randrange(1 << 30)))),
            "too large, told": (
                1,
                lambda: self.raw(self.head(JPEG, "Content-Length: 99999999"), b"\xff\xd8"),
            ),
            "too large, not told": (1, lambda: self.send(chunks())),
            "slow body": (
                1,
                lambda: self.raw(self.head(JPEG, "Content-Length: 5000"), *[b"\xff"] * 12, pause=2),
            ),
            "slow headers": (1, lambda: self.raw(b"POST /avatars HTTP/1.1\r\n", *[b"X: y\r\n"] * 12, pause=1)),
            "wrong type": (2, lambda: self.send(b"{}", "application/json")),
            "broken form": (2, lambda: self.send(form, "multipart/form-data; boundary=x")),
            "form of nothing": (1, lambda: self.send(b"zzz", "multipart/form-data")),
            "bad option": (2, lambda: self.send(b"x", path="/avatars?size=999999&face=-1")),
            "wrong token": (2, lambda: self.send(self.sent[0], token="guessed")),
            "leaves in its body": (
                2,
                lambda: self.raw(self.head(JPEG, "Content-Length: 5000"), b"\xff" * 100, read=False),
            ),
            "leaves after it": (
                1,
                lambda: self.raw(
                    self.head("Content-Type: image/jpeg", f"Content-Length: {len(self.sent[-1])}"),
                    self.sent[-1],
                    read=False,
                ),
            ),
            "other addresses": (
                2,
                lambda: self.send(
                    None, path=pick.choice(["/avatars/../../etc/passwd", "/docs", "/avatars/0"]), method="GET"
                ),
            ),
            "odd charset": (
                1,
                lambda: self.send(odd, f"multipart/form-data; boundary=x; charset={pick.choice(CHARSETS)}"),
            ),
            "broken host": (1, lambda: self.raw(self.head("Origin: http://[").replace(b"127.0.0.1", b"[::1"))),
            "no HTTP": (1, lambda: self.raw(os.urandom(300) + b"\r\n\r\n")),
            "health": (2, lambda: self.send(None, path="/health/ready", method="GET")),
        }

    def client(self, until, pause):
        kinds = self.kinds()
        names, weights = list(kinds), [weight for weight, _ in kinds.values()]
        while time.monotonic() < until:
            name = self.random.choices(names, weights)[0]
            start = time.perf_counter()
            try:
                answer = kinds[name][1]()
            except (OSError, http.client.HTTPException) as error:
                answer = type(error).__name__
            with self.lock:
                self.answers[name].append((answer, time.perf_counter() - start))
            time.sleep(self.random.uniform(0, 2 * pause))


def hostile_photos():
    """The pictures of tests/hostile, one by one: some take seconds to make."""
    with tempfile.TemporaryDirectory() as folder:
        goods = Goods(folder)
        for number, case in enumerate(random.Random(0).sample(CASES, len(CASES))):
            place = Path(folder, str(number))
            place.mkdir()
            with suppress(OSError):  # names that are too long, and what is no file: of no meaning by HTTP
                path = place / str(case.lay(goods, place)[0])
                if path.is_file() and 0 < path.stat().st_size <= MOST:
                    yield path.read_bytes()


def noise(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (200, 200, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def memory(pid):
    """MB of the server itself, and of its processes with their own, such as a converter."""

    def held(process):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)

    def below(process):
        found = set()
        with suppress(OSError):
            for thread in Path(f"/proc/{process}/task").iterdir():
                found |= set((thread / "children").read_text().split())
        return found.union(*map(below, found))

    return round(held(pid), 1), round(sum(map(held, below(pid))), 1)


def report(load, samples, numbers, minutes, pause, clients):
    every = [answer for answers in load.answers.values() for answer in answers]
    lines = [f"{len(every)} requests in {minutes:g} minutes, {clients} clients, a pause of {pause:g} s on average"]
    lines += [f"{len(load.hostile)} pictures of tests/hostile", ""]
    lines += ["| sent | requests | answers | s: half | 95 % | 99 % | longest |", "|---|---:|---|---:|---:|---:|---:|"]
    for name, answers in sorted(load.answers.items()):
        told = Counter(str(answer) for answer, _ in answers)
        seconds = np.percentile([taken for _, taken in answers], [50, 95, 99, 100])
        words = ", ".join(f"{answer}: {count}" for answer, count in told.most_common())
        lines.append(f"| {name} | {len(answers)} | {words} | {' | '.join(f'{s:.2f}' for s in seconds)} |")
    lines += ["", "| minute | server MB | processes MB |", "|---:|---:|---:|"]
    for minute, own, others in samples:
        lines.append(f"| {minute:.1f} | {own} | {others} |")
    lines += ["", *(line for line in numbers.splitlines() if line.startswith("bilayer_") and "bucket" not in line)]
    failed = sum(answer == 500 for answer, _ in every)
    lines += ["", f"answers of 500: {failed}; told a path or a traceback: {len(load.surprises)}", *load.surprises[:5]]
    return "\n".join(lines)


@click.command()
@click.option("--minutes", default=30.0)
@click.option("--clients", default=4)
@click.option("--pause", default=1.0, help="Seconds between a client's requests, on average.")
@click.option("--seed", default=0)
@click.option("--server", default="--queue 2 --cache-size 256", help="The server's options.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the report goes, too.")
def main(minutes, clients, pause, seed, server, out):
    """Start a server, load it, and report."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "bilayer.export.serve.cli", "--port", "0", "--cache", cache, "--json"]
        server = subprocess.Popen(
            [*command, *server.split()], stdout=subprocess.PIPE, env=os.environ | {"BILAYER_TOKEN": TOKEN}, text=True
        )
        told = ""
        while not told.endswith("}\n"):
            told += server.stdout.readline()
        load = Load(int(json.loads(told)["address"].rpartition(":")[2]), seed)
        threading.Thread(target=load.make_hostile, daemon=True).start()
        while load.send(None, path="/health/ready", method="GET") != 200:
            time.sleep(0.5)
        start = time.monotonic()
        until = start + minutes * 60
        threads = [threading.Thread(target=load.client, args=(until, pause)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        samples, step = [], max(5.0, minutes * 60 / 30)
        while time.monotonic() < until:
            time.sleep(min(step, max(0.1, until - time.monotonic())))
            samples.append(((time.monotonic() - start) / 60, *memory(server.pid)))
            if out:
                out.write_text(report(load, samples, "", samples[-1][0], pause, clients))
        for thread in threads:
            thread.join()
        connection = http.client.HTTPConnection("127.0.0.1", load.port)
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        numbers = connection.getresponse().read().decode()
        server.terminate()
        text = report(load, samples, numbers, minutes, pause, clients)
        text += f"\nended with {server.wait(60)}; files left: {sorted(p.name for p in Path(cache).rglob('photo*'))}"
        print(text)
        if out:
            out.write_text(text)


if __name__ == "__main__":
    main()
