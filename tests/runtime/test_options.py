"""Options of a command from the dataclass that they fill."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import click
import pytest
from click.testing import CliRunner

from bilayer.runtime.command.console import Command
from bilayer.runtime.command.options import Option, fills


@dataclass(frozen=True)
class Settings:
    place: Annotated[Path, Option("Where.", argument=True)]
    name: Annotated[str, Option("Of it.", ("-n",))]
    count: Annotated[int, Option("How many.", at_least=1, at_most=9)] = 3
    share: Annotated[float | None, Option("Of all.", default="a guess")] = None
    precision: Annotated[Literal["fp32", "fp16", "fp16-hybrid", "bf16"], Option("Of it.")] = "fp32"
    kind: Annotated[Literal["a", "b"] | None, Option("Of it.", none="auto")] = None
    turn: Annotated[Literal[0, 90], Option("Degrees.")] = 0
    quiet: Annotated[bool, Option("Say nothing.")] = False
    mask: Annotated[bool, Option("Cut out.")] = True
    enhance: Annotated[bool | None, Option("Refine.")] = None
    head: Annotated[bool, Option("One or three.", ("--one/--three",))] = True
    sizes: Annotated[tuple[int, ...], Option("Of all.", ("--size",), at_least=8)] = ()
    least: Annotated[float, Option("Of it.", at_least=0.1)] = 1.0
    seed: Annotated[int, Option("Of chance.")] = 0
    hidden: int = 7
    others: Annotated[tuple[Path | str, ...], Option("More places.", ("--other",))] = ()


@click.command(cls=Command)
@fills(Settings)
@click.option("--aside", is_flag=True)
def command(settings: Settings, aside: bool) -> None:
    click.echo(repr((settings, aside)))


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_defaults_are_the_dataclasses_own():
    assert run("here", "--name", "x").stdout == f"{(Settings(Path('here'), 'x'), False)!r}\n"


def test_what_is_given_goes_into_its_field():
    words = "here -n x --count 4 --share 0.5 --precision bf16 --kind b --turn 90 --quiet --no-mask --no-enhance --three"
    done = run(*words.split(), "--size", 8, "--size", 9, "--aside")
    expected = Settings(Path("here"), "x", 4, 0.5, "bf16", "b", 90, True, False, False, False, (8, 9))
    assert done.stdout == f"{(expected, True)!r}\n"
    assert run("here", "-n", "x", "--kind", "auto", "--enhance").stdout == (
        f"{(Settings(Path('here'), 'x', enhance=True), False)!r}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("here", "Missing option '-n' / '--name'"),
        ("-n x", "Missing argument 'PLACE'"),
        ("s3://here -n x", "s3://here is a URL: expected a path of this machine"),
        ("here -n x --count 10", "10 is not in the range 1<=x<=9"),
        ("here -n x --size 7", "7 is not in the range x>=8"),
        (f"here -n x --size {1 << 31}", "2147483648 is no number that can be used here"),
        (f"here -n x --size {'9' * 400}", "99999999999999999999 is no number"),
        (f"here -n x --size {'9' * 5000}", "is not a valid"),
        ("here -n x --share nan", "nan is no number"),
        ("here -n x --share -inf", "-inf is no number"),
        ("here -n x --share 1e999", "1e999 is no number"),
        ("here -n x --least nan", "nan is no number"),
        (f"here -n x --seed -{'9' * 30}", "is no number"),
        ("here -n x --kind c", "'c' is not one of 'auto', 'a', 'b'"),
        ("here -n x --turn 45", "'45' is not one of '0', '90'"),
        ("here -n x --hidden 3", "No such option"),
        ("here -n x --precision f32", "'f32' is called 'fp32' here"),
        ("here -n x --precision float16", "'float16' is called 'fp16' here"),
        ("here -n x --precision hybrid", "'hybrid' is called 'fp16-hybrid' here"),
        ("here -n x --precision bfloat16", "'bfloat16' is called 'bf16' here"),
        ("here -n x --kind f32", "'f32' is not one of"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(arguments, words):
    done = run(*arguments.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr


def test_help_tells_defaults_and_ranges():
    text = " ".join(run("-h").stdout.split())
    for words in (
        "-n, --name TEXT Of it. [required]",
        "How many. [default: 3; 1<=x<=9]",
        "Of all. [default: a guess]",
        "[fp32|fp16|fp16-hybrid|bf16] Of it. [default: fp32]",
        "[auto|a|b] Of it. [default: auto]",
        "--mask / --no-mask Cut out. [default: mask]",
        "--quiet Say nothing. --mask",
        "-h, --help",
    ):
        assert words in text, (words, text)


def test_a_synonym_is_taken_and_not_shown():
    @dataclass(frozen=True)
    class Renamed:
        landmarks: Annotated[Path | None, Option("Of a face.", ("-l",), synonym="--keypoints")] = None

    @click.command()
    @fills(Renamed)
    def command(options):
        click.echo(repr(options))

    for word in ("--keypoints", "--landmarks", "-l"):
        assert CliRunner().invoke(command, [word, "a.npy"]).stdout == f"{Renamed(Path('a.npy'))!r}\n"
    assert CliRunner().invoke(command, ["--keypoints=a.npy"]).stdout == f"{Renamed(Path('a.npy'))!r}\n"
    without = CliRunner().invoke(command, ["--keypoints"])
    assert (without.exit_code, "requires an argument" in without.stderr) == (2, True)
    assert "keypoints" not in CliRunner().invoke(command, ["--help"]).stdout


def test_several_places_are_paths_or_urls():
    done = run("here", "-n", "x", "--other", "a//b", "--other", "s3://c//d")
    assert done.stdout == f"{(Settings(Path('here'), 'x', others=(Path('a/b'), 's3://c//d')), False)!r}\n"


def test_an_empty_word_is_no_place():
    for words in (["", "-n", "x"], ["here", "-n", "x", "--other", ""]):
        done = run(*words)
        assert (done.exit_code, done.stdout) == (2, "")
        assert "expected a path, found an empty word" in done.stderr


def test_all_options_come_from_dataclasses():
    """But for --json, of `show`, -h and --version, which click has by itself, and two steps of the set-up."""
    top = Path(__file__).parents[2]
    rooms = ("android_harness", "benchmarks", "bilayer", "export", "model", "runtime", "training")
    files = [path for room in rooms for path in (top / room).rglob("*.py")]
    by_hand = re.compile(r"\bclick\.(?:option|argument|Option|Argument)\(")
    found = {path.relative_to(top).as_posix() for path in files if by_hand.search(path.read_text(encoding="utf-8"))}
    set_up = {"runtime/face/model_files.py", "runtime/web/engines.py"}
    assert found == {"runtime/command/console.py", "runtime/command/options.py"} | set_up
