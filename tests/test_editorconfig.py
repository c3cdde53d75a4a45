"""The files are as .editorconfig tells editors to write them."""

import configparser
import re
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def pattern(section):
    """The section's glob as a regular expression over paths: *, **, and {one,other}, which is all that ours has."""
    words = {"**": ".*", "*": "[^/]*", "{": "(?:", "}": ")", ",": "|"}
    text = "".join(words.get(part) or re.escape(part) for part in re.findall(r"\*\*|[*{},]|[^*{},]+", section))
    return re.compile(text if "/" in section else f"(?:.*/)?{text}")


def settings():
    """(pattern, what it sets) of each section, in order: a later one counts."""
    parser = configparser.ConfigParser()
    parser.read_string("[the file]\n" + (ROOT / ".editorconfig").read_text(encoding="utf-8"))
    return [(pattern(name), dict(parser[name])) for name in parser.sections() if name != "the file"]


def rules_of(name, sections):
    rules = {}
    for matching, told in sections:
        if matching.fullmatch(name):
            rules |= told
    return rules


def steps(text):
    """How far each line is indented beyond the one before; 1 is a comment's star, and over 8 stands under a bracket."""
    margins = [re.match(r"[ \t]*", line)[0] for line in text.split("\n") if line.strip()]
    return Counter(len(b) - len(a) for a, b in pairwise(margins) if 1 < len(b) - len(a) <= 8)


def faults(content, rules):
    text = content.decode("utf-8")  # charset
    if rules["end_of_line"] == "lf" and "\r" in text:
        yield "end_of_line"
    if rules["insert_final_newline"] == "true" and text and not text.endswith("\n"):
        yield "insert_final_newline"
    if rules["trim_trailing_whitespace"] == "true" and re.search(r"[ \t]$", text, re.MULTILINE):
        yield "trim_trailing_whitespace"
    if rules["indent_style"] == "space" and re.search(r"^ *\t", text, re.MULTILINE):
        yield "indent_style"
    found = steps(text)
    if (
        rules["indent_size"].isdigit()
        and found.total() >= 3
        and found.most_common(1)[0][0] != int(rules["indent_size"])
    ):
        yield f"indent_size: {found.most_common(2)}"


@pytest.fixture(scope="module")
def texts():
    """(name, bytes) of the repository's files that are text."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout, which knows what belongs to the repository")
    paths = [(name, ROOT / name) for name in done.stdout.split("\0") if name]
    contents = [(name, path.read_bytes()) for name, path in paths if path.is_file()]
    return [(name, content) for name, content in contents if b"\0" not in content]


def test_every_file_is_as_told(texts):
    sections = settings()
    told = [(name, content, rules_of(name, sections)) for name, content in texts]
    found = {name: list(faults(content, rules)) for name, content, rules in told if rules["charset"] == "utf-8"}
    assert len(found) > 700
    assert {name: complaints for name, complaints in found.items() if complaints} == {}


@pytest.mark.parametrize(
    ("name", "size"),
    [("a.py", "4"), ("docs/b.json", "2"), ("training/configs/c.toml", "4"), ("web/src/d.ts", "2"), ("x/page.css", "2")],
)
def test_the_last_matching_section_counts(name, size):
    assert rules_of(name, settings())["indent_size"] == size


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a\r\n", "end_of_line"),
        (b"a", "insert_final_newline"),
        (b"a \n", "trim_trailing_whitespace"),
        (b"a\n\tb\n", "indent_style"),
        (b"a\n  b\n" * 5, "indent_size: [(2, 5)]"),
        (b"a\n    b\n" * 5, None),
    ],
)
def test_what_is_otherwise_is_seen(content, fault):
    assert list(faults(content, rules_of("a.py", settings()))) == ([fault] if fault else [])
