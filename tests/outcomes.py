"""How command lines end, many in one process, and tables of what they tell at once: before anything heavy is loaded."""

import json
import shlex
import subprocess
import sys
from typing import NamedTuple

HEAVY = ["torch", "onnx", "onnxruntime", "numba", "cv2", "av"]
RUN = """
import io, json, sys
from contextlib import redirect_stderr
from bilayer.cli import main
found = []
for words in json.load(sys.stdin):
    told, code = io.StringIO(), 0
    with redirect_stderr(told):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    found.append([code, told.getvalue(), sorted(set(sys.argv[1:]) & set(sys.modules))])
print(json.dumps(found))
"""


class Outcome(NamedTuple):
    """Exit code and stderr of a command, and what of HEAVY is loaded in its process."""

    code: int
    told: str
    heavy: list[str]

    def is_at_once(self, code, *words):
        """Whether it ended with this code and one error that has all these words, and loaded nothing heavy."""
        one = self.told.count("rror: ") == 1 and self.told.count("mean") <= 1  # nor is one thing proposed twice
        in_one_line = self.told.count("\n") == 1 or code == 2  # of usage, click tells more
        as_told = self.code == code and all(word in self.told for word in words)
        return as_told and one and in_one_line and not self.heavy


def outcomes(folder, commands):
    """Outcome of each command in the folder, all of them in one process."""
    command, given = [sys.executable, "-c", RUN, *HEAVY], json.dumps(commands)
    done = subprocess.run(command, input=given, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return [Outcome(*end) for end in json.loads(done.stdout.splitlines()[-1])]


def check_told_at_once(folder, table):
    """Fail with all commands that end otherwise than the table says: by command the code, and words of the error."""
    ends = outcomes(folder, [shlex.split(words) for words in table])
    wrong = [(words, end) for (words, told), end in zip(table.items(), ends, strict=True) if not end.is_at_once(*told)]
    assert not wrong, "\n".join(map(str, wrong))


def of_each_file(table):
    """Return a table of commands in which FILE stands, and what they say by the file, as one of whole commands."""
    return {words.replace("FILE", name): (name, told) for words, files in table.items() for name, told in files.items()}
