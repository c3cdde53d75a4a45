"""Fuzzing, by Hypothesis: right files are changed, and what a reader raises beside a BilayerError is a fault.

    python -m tests.hostile.fuzz [TARGET...] [--minutes 1] [--memory 1500]        or: make fuzz MINUTES=10

A fault is made smaller, printed, and kept as tests/hostile/corpus/TARGET/NAME.hex, which the tests read from then on.
Each target is fuzzed in a process of its own with so many MB of address space.
"""

import argparse
import hashlib
import json
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bilayer.runtime.errors import BilayerError
from tests.hostile.fuzz_targets import TARGETS
from tests.hostile.goods import Goods

CORPUS = Path(__file__).parent / "corpus"
SLOWEST = 20  # s of the processor for one input: on a busy machine others take the rest
AT_ONCE = 200  # inputs between two looks at the clock
LONGEST_MESSAGE = 2000  # characters
TOKENS = [
    b"", b"\0", b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0",
    b"\0" * 8, b"\xff" * 8, b"9" * 30, b"9" * 400, b"-1", b"1e999", b"NaN", b"null", b"[", b"]", b"{", b"}", b'"', b"'",
    b"(", b",", b":", b"\n", b"\\ud800", b"\xef\xbb\xbf", b"%s", b"\x1b[2J", b"true", b"0", b"<f8", b"|O", b"= ",
]  # fmt: skip
CHANGE = st.tuples(
    st.sampled_from(["flip", "put", "insert", "cut", "repeat", "end", "swap"]),
    st.floats(0, 1, exclude_max=True),  # where
    st.one_of(st.sampled_from(TOKENS), st.binary(min_size=1, max_size=8)),
    st.integers(0, 63),
)


class TooSlow(BaseException):  # no reader may catch it
    """One input took over SLOWEST seconds."""


def changed(content, changes):
    """`content` after each of the changes."""
    content = bytearray(content)
    for kind, where, token, number in changes:
        at = int(where * (len(content) + 1))
        match kind:
            case "flip" if at < len(content):
                content[at] ^= 1 << number % 8
            case "put":
                content[at : at + len(token)] = token
            case "insert":
                content[at:at] = token
            case "cut":
                del content[at : at + number]
            case "repeat":
                content[at:at] = content[at : at + number] * (1 + number % 5)
            case "end":
                del content[at:]
            case "swap":
                content[at : at + number], content[:number] = content[:number], content[at : at + number]
    return bytes(content)


def meet(target, folder, suffix, content):
    """Let a target's reader read it; raises what is no BilayerError, and a ValueError of a message that is none."""
    path = folder / f"a{suffix}"
    path.write_bytes(content)
    try:
        with warnings.catch_warnings(action="ignore"):
            TARGETS[target].read(path)
    except BilayerError as error:
        if not 0 < len(str(error)) <= LONGEST_MESSAGE:
            raise ValueError(f"a message of {len(str(error))} characters: {str(error)[:300]}") from error


def kept():
    """Faults of before, and other telling inputs: target, suffix and content, by name."""
    found = {}
    for path in sorted(CORPUS.glob("*/*.hex")):
        suffix, text = path.read_text().split("\n", 1)
        found[f"{path.parent.name}/{path.stem}"] = path.parent.name, suffix.strip(), bytes.fromhex(text)
    return found


def keep(target, suffix, content, name):
    """Put an input into the corpus."""
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    lines = [content.hex()[i : i + 120] for i in range(0, 2 * len(content), 120)]
    (folder / f"{name}.hex").write_text("\n".join([suffix, *lines]) + "\n")


def fuzz(name, seconds, memory):
    """How often a target was run, and what it raised that it must not."""
    end, count, faults = time.monotonic() + seconds, 0, []
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        folder = Path(made)
        seeds = [*TARGETS[name].seeds(Goods(folder))]
        seeds += [(suffix, content) for target, suffix, content in kept().values() if target == name]
        last = None

        def too_slow(*_):
            raise TooSlow

        signal.signal(signal.SIGPROF, too_slow)
        resource.setrlimit(resource.RLIMIT_AS, (memory << 20, memory << 20))

        @settings(
            max_examples=AT_ONCE, database=None, deadline=None, phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck), print_blob=False,
        )  # fmt: skip
        @given(st.sampled_from(range(len(seeds))), st.lists(CHANGE, max_size=8))
        def one(seed, changes):
            nonlocal count, last
            suffix, content = seeds[seed]
            last = suffix, changed(content, changes)
            count += 1
            signal.setitimer(signal.ITIMER_PROF, SLOWEST)
            try:
                meet(name, folder, *last)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)

        while time.monotonic() < end and len(faults) < 5:
            try:
                one()
            except (Exception, TooSlow):
                keep(name, *last, f"fault-{hashlib.sha256(last[1]).hexdigest()[:12]}")
                faults.append(traceback.format_exc(limit=-6))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"target": name, "executions": count, "faults": faults, "seconds": round(seconds), "peak_mb": peak}


def main():
    """Fuzz the targets one after the other, and print a line of each; exit code 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", default=[], choices=[[], *TARGETS], metavar="TARGET")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each target")
    parser.add_argument("--memory", type=int, default=2500, help="MB of address space; torch takes 1000 of them")
    given_ = parser.parse_args()
    faults = 0
    for name in given_.targets or TARGETS:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # it tells of a process that died
            found = pool.submit(fuzz, name, given_.minutes * 60, given_.memory).result()
        faults += len(found["faults"])
        print(json.dumps({**found, "faults": len(found["faults"])}), flush=True)
        for text in found["faults"]:
            print(text, file=sys.stderr, flush=True)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
