"""The fenced blocks of the documents, and what is said of running them.

A block of commands or Python is run by tests/test_docs.py, unless a comment before it says otherwise:

    <!-- run by tests/FILE.py::TEST -->    another test runs it
    <!-- not run: REASON -->               none does
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "model/**/*.md", "android_harness/**/*.md")
    for path in ROOT.glob(pattern)
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (run by|not run:) (.+?) -->\s*\Z", re.DOTALL)
_PROGRAM = re.compile(
    r"^(\$ )?(\.venv/bin/)?(adb|apt|bilayer[a-z-]*|cd|cmake|eval|gradle|make|node|pip|pre-commit|python|torchrun) "
    r"|^\.venv/bin/|^pip install"
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its kind is the word behind the fence."""

    page: str
    line: int
    kind: str
    text: str
    mark: str  # "run by", "not run:" or nothing
    why: str  # the test, or the reason

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Shell commands without their comments, a line each; none of what only shows output."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.kind or not any(_PROGRAM.match(line) for line in lines):
            return []
        if any(line.startswith("$ ") for line in lines):  # with the output below
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [stripped for line in lines if (stripped := re.sub(r"(^|\s+)#.*", "", line).strip())]

    @property
    def output(self) -> str:
        """What the page shows of the command's output: all but the lines with a `$`."""
        return "".join(line for line in self.text.splitlines(keepends=True) if not line.startswith("$ "))

    @property
    def runs(self) -> bool:
        """Whether it is something to be run."""
        return self.kind == "python" or bool(self.commands)


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found, end = [], 0
    for match in _FENCE.finditer(text):
        mark = _MARK.search(text[end : match.start()])
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, match[1], match[2], mark[1] if mark else "", mark[2] if mark else ""))
        end = match.end()
    return found
