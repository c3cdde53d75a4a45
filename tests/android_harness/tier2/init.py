"""The first process of each of the phone's namespaces (phone.py).

    unshare -Urnp --fork python init.py hold             # has the network until its input is closed
    unshare -mp --fork python init.py user SYSTEM ROOT PORT MB    # in it: becomes adbd in the phone's file system

SYSTEM is what install.py made, ROOT a folder with the phone's own files. /data gets a disk of MB megabytes in memory,
or with 0 is what ROOT has. With `root` for `user` there is no user namespace and the machine runs ARM programs
already. Standard library only.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

QEMU = "usr/bin/qemu-aarch64-static"
# Of an ELF file's first 20 bytes those that say 64-bit, little-endian, program, AArch64
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
UP, GET_FLAGS, SET_FLAGS = 1, 0x8913, 0x8914  # of a network device


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack_from("16xh", fcntl.ioctl(any_socket, GET_FLAGS, request))[0]
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", flags | UP))


def no_vsock() -> None:
    """Let socket(AF_VSOCK) fail from here on: adbd would listen there too, and no namespace confines that."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF: ld [k]; jeq k, yes, no; ret k
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EAFNOSUPPORT
    program = [
        (load, 0, 0, 0),  # seccomp_data.nr
        (equal, 0, 3, 41),  # socket, on x86-64
        (load, 0, 0, 16),  # seccomp_data.args[0]
        (equal, 0, 1, socket.AF_VSOCK),
        (give, 0, 0, refuse),
        (give, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    set_no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    for arguments in ((set_no_new_privileges, 1, 0), (set_seccomp, filter_mode, header)):
        if libc.prctl(*arguments, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def run_arm_programs(system: Path) -> None:
    """Register qemu for this user namespace alone; F opens it now, so that it is found in the chroot as well."""
    mount("-t", "binfmt_misc", "binfmt_misc", BINFMT)
    (BINFMT / "register").write_text(f":qemu-aarch64:M::{MAGIC}:{MASK}:{system / QEMU}:F")


def make_root(system: Path, root: Path, megabytes: int) -> None:
    for folder in ("usr", "proc", "dev"):
        (root / folder).mkdir(exist_ok=True)
    for link, target in (("bin", "system/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")):
        if not (root / link).is_symlink():
            (root / link).symlink_to(target)
    if megabytes:
        mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", root / "data")
        (root / "data/local/tmp").mkdir(parents=True)
    mount("--bind", system / "usr", root / "usr")
    mount("-o", "remount,bind,ro", root / "usr")
    mount("--rbind", "/proc", root / "proc")
    for device in ("null", "zero", "urandom", "tty"):
        (root / "dev" / device).touch()
        mount("--bind", f"/dev/{device}", root / "dev" / device)


def hold() -> None:
    loopback_up()
    print("ready", flush=True)
    sys.stdin.read()


def become_adbd(kind: str, system: Path, root: Path, port: str, megabytes: int) -> None:
    mount("-t", "proc", "proc", "/proc")
    if kind == "user":
        run_arm_programs(system)
    make_root(system, root, megabytes)
    no_vsock()
    os.chroot(root)
    os.chdir("/")
    os.umask(0o022)
    environment = {
        "ADBD_PORT": port, "PATH": "/system/bin", "HOME": "/data/local/tmp", "TMPDIR": "/data/local/tmp",
    }  # fmt: skip
    adbd = "/usr/lib/android-sdk/platform-tools/adbd"
    os.execve(adbd, [adbd], environment)


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold()
    else:
        kind, system, root, port, megabytes = sys.argv[1:]
        become_adbd(kind, Path(system), Path(root), port, int(megabytes))
