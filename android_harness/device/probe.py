"""What a device is: names, build, processors; and whether it is one at all."""

import re
from dataclasses import dataclass

from bilayer.android_harness.device.adb import Device
from bilayer.android_harness.device.workspace import ROOT
from bilayer.runtime.errors import DeviceError

_SCRIPT = """
getprop
echo "uname $(uname -m) $(uname -r)"
read -r v 2>/dev/null < /sys/class/kgsl/kgsl-3d0/gpu_model && echo "gpu $v"
dumpsys SurfaceFlinger 2>/dev/null | grep -m 1 '^ *GLES:'
for f in /proc/sys/fs/binfmt_misc/qemu-*; do [ -e "$f" ] && echo "binfmt $f"; done
for f in /vendor/lib64/libSNPE.so /system/lib64/libSNPE.so %s/lib/libSNPE.so %s/lib/libQnnGpu.so; do
[ -e "$f" ] && echo "runtime $f"; done
grep -m 1 '^Hardware' /proc/cpuinfo
df -k /data/local/tmp | tail -n 1 | { read -r a b c d e; echo "free $d"; }
true
"""
_PROPERTY = re.compile(r"^\[([^\]]+)\]: \[(.*)\]$")
_EMULATED_HARDWARE = ("goldfish", "ranchu", "cutf", "vbox86")
# Snapdragon 855: QTI calls the platform msmnile, the part SM8150
_MARKETED = {
    "msmnile": "Snapdragon 855",
    "kona": "Snapdragon 865",
    "lahaina": "Snapdragon 888",
    "sdm845": "Snapdragon 845",
}


@dataclass(frozen=True)
class DeviceFacts:
    """A device by what it says of itself; empty where it says nothing. No serial number: results are to be shared."""

    maker: str
    model: str
    android: str  # release
    build: str  # id and increment
    patch: str  # security patch date
    platform: str  # ro.board.platform, such as msmnile
    soc: str  # part number, or what the kernel calls it
    gpu: str
    architecture: str
    kernel: str
    runtimes: list[str]  # Qualcomm's libraries that are there
    free_mb: float | None  # where our folder is
    emulation: list[str]  # why it is no phone; empty for one


def probe(device: Device) -> DeviceFacts:
    """Ask a device what it is, or raise a DeviceError: it is gone, or lacks properties, which all Androids have."""
    printed = device.answer(_SCRIPT % (ROOT, ROOT), "what it is")
    if not any(_PROPERTY.match(line.strip()) for line in printed.splitlines()):
        raise DeviceError(f"{device.serial}: getprop tells no property; expected an Android device, choose by --serial")
    return parse_facts(printed)


def parse_facts(text: str) -> DeviceFacts:
    """Read what the script of this module prints."""
    properties: dict[str, str] = {}
    printed: dict[str, list[str]] = {}
    for line in text.splitlines():
        found = _PROPERTY.match(line.strip())
        if found:
            properties[found[1]] = _clean(found[2])
        else:
            name, _, value = line.strip().partition(" ")
            printed.setdefault(name.rstrip(":"), []).append(_clean(value.lstrip(": \t")))
    get = properties.get
    architecture, _, kernel = printed.get("uname", [""])[0].partition(" ")
    platform = get("ro.board.platform", "")
    part = get("ro.soc.model", "") or next(iter(printed.get("Hardware", [])), "")
    free = printed.get("free", [""])[0]
    return DeviceFacts(
        maker=get("ro.product.manufacturer", ""),
        model=get("ro.product.model", ""),
        android=get("ro.build.version.release", ""),
        build=" ".join(filter(None, (get("ro.build.id", ""), get("ro.build.version.incremental", "")))),
        patch=get("ro.build.version.security_patch", ""),
        platform=platform,
        soc=" ".join(filter(None, (part, f"({_MARKETED[platform]})" if platform in _MARKETED else ""))),
        gpu=_gpu(printed),
        architecture=architecture,
        kernel=kernel,
        runtimes=printed.get("runtime", []),
        free_mb=int(free) / 1024 if re.fullmatch(r"\d{1,15}", free) else None,
        emulation=_emulation(properties, architecture, printed),
    )


def _gpu(printed: dict[str, list[str]]) -> str:
    if "gpu" in printed:
        return printed["gpu"][0]
    parts = printed.get("GLES", [""])[0].split(",")
    return parts[1].strip() if len(parts) > 1 else ""


def _emulation(properties: dict[str, str], architecture: str, printed: dict[str, list[str]]) -> list[str]:
    reasons = [name for name in ("ro.kernel.qemu", "ro.boot.qemu") if properties.get(name) == "1"]
    hardware = properties.get("ro.hardware", "")
    if hardware.startswith(_EMULATED_HARDWARE):
        reasons.append(f"ro.hardware is {hardware}")
    if not architecture.startswith(("aarch64", "arm")):
        reasons.append(f"its processor is {architecture or 'unknown'}")
    if "binfmt" in printed:
        reasons.append("its programs are run by qemu")
    return reasons


def _clean(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:120]
