"""Measurements on devices, and what a phone answers."""

import copy
import json

from tests.hostile.case import Case
from tests.hostile.damage import DAMAGED, KEPT, WRONG

HUGE = 10**400


def report(name, content, codes=(3,), words=("--json",), says=""):
    def lay(goods, folder):
        path = folder / "result.json"
        content(path, goods) if callable(content) else path.write_bytes(
            content.encode() if isinstance(content, str) else content
        )
        return ["report", path.name, *words]

    return Case("results", name, "device", lay, codes, says)


def damaged(change):
    return lambda path, goods: change(path, json.dumps(goods.result).encode())


def field(*place, value):
    def lay(path, goods):
        content = copy.deepcopy(goods.result)
        at = content
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = value
        path.write_text(json.dumps(content))

    return lay


def phone(name, shell, codes=(3,), words=("probe",), devices="abc device model:X", says=""):
    """A stand-in for adb, whose `shell` is this script."""

    def lay(goods, folder):
        program = folder / "adb"
        program.write_text(f"""#!/bin/sh
case "$*" in
version) echo 'Version 1.0';;
devices*) printf 'List of devices attached\\n{devices}\\n';;
*get-state) echo device;;
*shell*) {shell};;
*) exit 1;;
esac
""")
        program.chmod(0o755)
        return [*words]

    return Case("results", f"phone-{name}", "device", lay, codes, says)


SHELLS = {  # what a phone's shell does
    "shell-fails": "exit 127",
    "shell-says-so": "echo /system/bin/sh: not found >&2; exit 127",
    "shell-prints-half": "echo '[ro.product.model]: [X]'; exit 1",
    "shell-prints-nothing": "exit 0",
    "shell-prints-noise": "head -c 100000 /dev/urandom",
    "shell-prints-megabytes": "yes '[a]: [b]' | head -c 20000000",
    "no-android": "echo uname x86_64",
}
ANSWERS = {  # of what is an Android device, with odd values
    "a-number-of-400-digits": "printf '[a]: [b]\nfree " + "9" * 400 + "\n'",
    "escapes": "printf '[ro.product.model]: [a\033[2Jb]\n'",
    "no-temperature": "printf '[a]: [b]\nzone.cpu nan\ncpu.clock inf\ngpu.clock 1e999\n'",
}
PLACES = {
    "gmacs": ("model", "gmacs"),
    "executions": ("protocol", "executions"),
    "psnr": ("rows", 0, "parity", "psnr_db", "frame"),
    "free": ("device", "free_mb"),
    "median": ("rows", 0, "latency", "total_ms", "median"),
    "size": ("model", "image_size"),
    "levels": ("sampler", "rows", 0, "worst_levels"),
}
VALUES = {"400-digits": HUGE, "nan": float("nan"), "1e999": float("inf"), "text": "1", "list": [1], "65-bits": 1 << 64}
WHOLE = ("executions", "size", "levels")
CASES = [
    *(report(name, damaged(change)) for name, change in WRONG.items()),
    *(report(name, damaged(change), KEPT) for name, change in DAMAGED.items()),
    *(
        report(
            f"{place}-{name}",
            field(*where, value=value),
            codes=(0, 3) if name == "65-bits" and place not in WHOLE else (3,),
        )
        for place, where in PLACES.items()
        for name, value in VALUES.items()
    ),
    *(
        report(f"{place}-1e300", field(*PLACES[place], value=1e300), (0, 3), words)
        for place in ("gmacs", "psnr", "free", "median")
        for words in [("--html", "out.html")]
    ),
    *(report(f"text-{place}-0", field(*PLACES[place], value=0), (0, 3), ()) for place in ("median", "gmacs", "psnr")),
    report("median-negative", field(*PLACES["median"], value=-5.0), (0, 3), ()),
    report("rows-none", field("rows", value=[]), (0, 3), ()),
    report("date-none", field("date", value="yesterday"), (0, 3), ("--html", "out.html")),
    report("date-year-99999", field("date", value="99999-01-01T00:00:00"), (0, 3), ()),
    report("name-of-a-megabyte", field("device", "model", value="m" * (1 << 20)), (0, 3), ()),
    report("name-of-lines", field("device", "model", value="a\n\x1b[2J|<script>"), (0, 3), ("--html", "out.html")),
    report("surrogate", field("device", "model", value="\ud800"), (0, 3), ("--html", "out.html")),
    report("surrogate-text", field("device", "model", value="\ud800"), (0, 3), ()),
    report(
        "modes-of-a-megabyte",
        lambda path, goods: path.write_text(
            json.dumps(
                {
                    **goods.result,
                    "rows": goods.result["rows"] + [{**goods.result["rows"][0], "title": "t" * (1 << 20)}] * 6,
                }
            )
        ),
        (0, 3),
        (),
    ),
    report(
        "100-000-moments",
        lambda path, goods: path.write_text(
            json.dumps(
                {
                    **goods.result,
                    "rows": [
                        {
                            **goods.result["rows"][0],
                            "series": [
                                {
                                    "process": 1,
                                    "uptime_s": 1.0,
                                    "gpu_mhz": None,
                                    "gpu_limit_mhz": None,
                                    "cpu_mhz": None,
                                    "celsius": None,
                                }
                            ]
                            * 100_000,
                        }
                    ],
                }
            )
        ),
        (0, 3),
        ("--html", "out.html"),
    ),
    *(
        report(name, text)
        for name, text in {
            "null": "null",
            "nested": "[" * 100_000,
            "nested-objects": '{"a":' * 50_000,
            "long-number": "9" * 5000,
            "number": "1",
            "not-utf-8": b'{"format": "\xff"}',
            "utf-16": "{}".encode("utf-16"),
            "two": "{}{}",
        }.items()
    ),
    *(phone(name, script) for name, script in SHELLS.items() if name not in ("shell-prints-megabytes",)),
    *(
        phone(f"list-{name}", "exit 1", (0, 3), ("list",), text)
        for name, text in {
            "nothing": "",
            "one-word": "abc",
            "a-thousand": "abc device\\n" * 1000,
            "escapes": "a\\033[2J device",
        }.items()
    ),
    *(phone(name, script, (0, 3)) for name, script in ANSWERS.items()),
    phone("shell-prints-megabytes", SHELLS["shell-prints-megabytes"], (0, 3)),
    phone("unauthorized", "exit 1", devices="abc unauthorized"),
    phone("none", "exit 1", devices=""),
    report("good", lambda path, goods: path.write_text(json.dumps(goods.result)), (0,), says="bilayer-device-result"),
]
