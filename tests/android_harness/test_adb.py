"""The adb client against the test phone: what a user's phone does, and what goes wrong with it."""

import os
import re
import time
from pathlib import Path

import pytest

from bilayer import android_harness
from bilayer.android_harness.device.adb import Adb, Device, DeviceTimeoutError
from bilayer.android_harness.device.conditions import read_conditions
from bilayer.android_harness.device.probe import probe
from bilayer.android_harness.device.workspace import ROOT, Workspace
from bilayer.runtime.errors import DeviceError, InputError, ToolMissingError

HOSTILE = [
    "it's",
    "$(touch pwned)",
    "`touch pwned`",
    "a; touch pwned",
    "a & b",
    '"',
    "\\",
    "é ü",
    "*",
    "-n",
    "~",
    "a\nb",
]


def test_a_missing_client_is_named(tmp_path):
    with pytest.raises(ToolMissingError, match=r"^adb: not found \(PATH\); install"):
        Adb.find({"PATH": str(tmp_path)})
    with pytest.raises(ToolMissingError, match=r"^/nowhere/adb: not found \(\$ADB\)"):
        Adb.find({"ADB": "/nowhere/adb", "PATH": os.environ["PATH"]})


def test_devices_are_listed_with_their_model(adb, plug_in):
    assert adb.devices() == []
    with pytest.raises(DeviceError, match=r"^no device \(found: none\); plug it in"):
        adb.choose()
    serial = plug_in()
    (one,) = adb.devices()
    assert (one.serial, one.state, one.model) == (serial, "device", "Test Phone")
    assert adb.choose().serial == adb.choose(serial).serial == serial
    with pytest.raises(DeviceError, match=f"--serial other: no such device .found: {serial}."):
        adb.choose("other")


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ("0123\tunauthorized transport_id:1\n", "0123: unauthorized; unlock it and allow"),
        (
            "0123 no permissions (user in plugdev group; are your udev rules wrong?)\n",
            "0123: no permissions; add a udev",
        ),
        ("0123\tauthorizing transport_id:1\n", "0123: authorizing; it is asking its owner: unlock it, allow USB"),
        ("0123\tconnecting\n", "0123: connecting; it is not ready yet: run this again"),
        ("0123\trecovery product:a\n", r"0123: recovery; it is in recovery mode: start Android on it .adb reboot"),
        ("0123\tsideload\n", "0123: sideload; it waits for an update: start Android"),
        ("0123\trescue\n", "0123: rescue; it is in rescue mode: start Android"),
        ("0123\tbootloader\n", "0123: bootloader; it is in its bootloader: .* .fastboot reboot"),
        ("0123\tdetached\n", "0123: detached; another program holds it: adb attach"),
        ("0123\thost\n", "0123: host; it runs adb's server itself"),
        ("0123\tsomething\n", "0123: something; expected device, its state when Android runs"),
        ("a device model:A\nb offline\n", r"2 devices: a \(A\), b \(offline\); choose one with --serial"),
    ],
)
def test_a_device_that_is_not_ready_says_what_to_do(tmp_path, listing, message):
    fake = tmp_path / "adb"
    fake.write_text(f"#!/bin/sh\nprintf 'List of devices attached\\n{listing}\\n'\n")
    fake.chmod(0o755)
    with pytest.raises(DeviceError, match=message):
        Adb(str(fake)).choose()


@pytest.mark.parametrize("printed", ["", "0123 device", "$(head -c 90000 /dev/zero | tr '\\0' x)"])
def test_what_prints_no_list_is_no_adb(tmp_path, printed):
    fake = tmp_path / "adb"
    fake.write_text(f'#!/bin/sh\necho "{printed}"\n')
    fake.chmod(0o755)
    found = "nothing" if not printed else printed if "$" not in printed else "x" * 80
    with pytest.raises(DeviceError) as told:
        Adb(str(fake)).devices()
    expected = f"adb devices: expected a list of devices, found {found}; see that this is Android's adb"
    assert str(told.value) == expected


def test_the_exit_code_and_both_outputs_come_back(device):
    done = device.shell("echo out; echo err >&2; exit 7")
    assert (done.code, done.out, done.err) == (7, "out\n", "err\n")


@pytest.mark.parametrize("word", HOSTILE)
def test_words_reach_a_program_on_the_device_as_they_are(device, phone, word):
    done = device.run("printf", "%s|", word, "end")
    assert (done.code, done.out) == (0, f"{word}|end|")
    assert not list(phone.root.rglob("pwned"))


def test_files_go_there_and_back_unchanged(device, phone, tmp_path):
    sent, back = tmp_path / "-it's $(touch pwned).bin", tmp_path / "back"
    sent.write_bytes(os.urandom(8 << 20))
    device.push(sent, "/data/local/tmp/a b's.bin")
    assert (phone.root / "data/local/tmp/a b's.bin").read_bytes() == sent.read_bytes()
    device.pull("/data/local/tmp/a b's.bin", back)
    assert back.read_bytes() == sent.read_bytes()
    with pytest.raises(DeviceError, match="/data/local/tmp/none: copying it here failed"):
        device.pull("/data/local/tmp/none", back)


def test_a_command_that_hangs_is_given_up(device):
    start = time.monotonic()
    with pytest.raises(DeviceTimeoutError, match=r"^adb shell did not end within 1 s and was stopped"):
        device.shell("sleep 60", timeout=1)
    assert time.monotonic() - start < 30


def make_files(folder, **contents):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {f"some/{name}": folder / name for name in contents}


def test_only_files_that_changed_are_pushed(device, phone, tmp_path):
    workspace = Workspace(device)
    files = make_files(tmp_path / "f", a=b"1", b=b"2", c=b"3")
    first = workspace.sync(files)
    assert (first.pushed, first.unchanged) == (tuple(files), ())
    (tmp_path / "f/b").write_bytes(b"changed")
    del files["some/c"]
    phone.faults.pushed.clear()
    second = workspace.sync(files)
    assert (second.pushed, second.unchanged, second.removed) == (("some/b",), ("some/a",), ("some/c",))
    assert phone.faults.pushed == [f"{ROOT}/some/b.part"]
    here = phone.inside(ROOT)
    assert sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()) == ["some/a", "some/b"]
    assert (here / "some/b").read_bytes() == b"changed"


def test_a_file_damaged_on_the_device_is_pushed_again(device, phone, tmp_path):
    workspace = Workspace(device)
    files = make_files(tmp_path / "f", a=b"whole")
    workspace.sync(files)
    (phone.inside(ROOT) / "some/a").write_bytes(b"half")
    assert workspace.sync(files).pushed == ("some/a",)
    assert (phone.inside(ROOT) / "some/a").read_bytes() == b"whole"


def test_only_our_folder_is_cleaned(device, phone, tmp_path):
    workspace = Workspace(device)
    workspace.sync(make_files(tmp_path / "f", a=b"1"))
    (phone.root / "data/local/tmp/others").write_text("stay")
    workspace.clean()
    assert not phone.inside(ROOT).exists()
    assert (phone.root / "data/local/tmp/others").is_file()
    with pytest.raises(InputError, match="stays in the device's folder"):
        workspace.clean("../others")


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a\nb", "a\\b", ""])
def test_names_that_leave_the_folder_are_refused(device, tmp_path, name):
    with pytest.raises(InputError, match="stays in the device's folder"):
        Workspace(device).sync({name: tmp_path / "any"})


def test_unplugged_in_the_middle_of_a_push_it_goes_on_afterwards(device, phone, plug_in, tmp_path):
    workspace = Workspace(device)
    files = make_files(tmp_path / "f", a=os.urandom(1 << 20), b=os.urandom(4 << 20), c=b"3")
    phone.faults.unplug_after = 2 << 20
    with pytest.raises(DeviceError, match=r"the device is gone .* plug it in and run the same command again") as raised:
        workspace.sync(files)
    assert "\n" not in str(raised.value)
    phone.faults.unplug_after = None
    phone.plug_in()
    plug_in()
    again = workspace.sync(files)
    assert (again.pushed, again.unchanged) == (("some/b", "some/c"), ("some/a",))
    assert workspace.sync(files).pushed == ()
    assert not list(phone.root.rglob("*.part"))


def test_a_full_device_keeps_what_arrived_whole(device, phone, tmp_path):
    workspace = Workspace(device)
    files = make_files(tmp_path / "f", a=os.urandom(1 << 20), b=os.urandom(4 << 20))
    phone.faults.full_after = 2 << 20
    with pytest.raises(DeviceError, match="no space left on the device; free some and run the same command again"):
        workspace.sync(files)
    assert not list(phone.root.rglob("*.part"))
    phone.faults.full_after = None
    assert workspace.sync(files).pushed == ("some/b",)


def test_too_little_space_is_seen_before_the_work(device, phone, tmp_path):
    df = phone.root / "bin/df"
    df.write_text(
        "#!/bin/sh\necho 'Filesystem 1K-blocks Used Available Use% Mounted on'\necho '/dev/x 9 1 9000 10% /data'\n"
    )
    df.chmod(0o755)
    with pytest.raises(DeviceError, match=r"201 MB needed on the device, no space left for them \(9 MB free\)"):
        Workspace(device).sync(make_files(tmp_path / "f", a=b"1" * 1000), space=201_000_000)
    assert phone.faults.pushed == []


@pytest.mark.parametrize("ask", [probe, read_conditions])
@pytest.mark.parametrize("script", ["exit 127", "echo /system/bin/sh: not found >&2; exit 127", "echo half; exit 1"])
def test_a_shell_that_fails_is_told_and_not_shown_as_dashes(tmp_path, ask, script):
    with pytest.raises(DeviceError, match=r"the device's shell ended with code (127|1) \(.+\); does `adb -s abc shell"):
        ask(Device(fake_adb(tmp_path, script), "abc"))


def test_what_has_no_properties_is_no_android_device(tmp_path):
    with pytest.raises(DeviceError, match="abc: getprop tells no property; expected an Android device"):
        probe(Device(fake_adb(tmp_path, "echo uname x86_64 6.1; true"), "abc"))


def test_no_output_is_used_of_a_command_whose_exit_code_is_not_looked_at():
    folder = Path(android_harness.__file__).parent
    used = re.compile(r"\.(shell|run|call)\(.*\)\.(out|last_line)")
    found = [f"{path.name}: {line}" for path in folder.rglob("*.py") for line in path.read_text().splitlines()
             if used.search(line)]  # fmt: skip
    assert not found


def fake_adb(folder, script):
    """A client whose device is there, and whose shell is this script."""
    program = folder / "adb"
    program.write_text(f'#!/bin/sh\ncase "$*" in *get-state*) echo device;; *) {script};; esac\n')
    program.chmod(0o755)
    return Adb(str(program))
