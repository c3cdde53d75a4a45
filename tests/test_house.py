"""The rooms as docs/architecture.md tells of them."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def test_a_public_class_has_its_name_alone():
    found: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(found) > 300
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_no_file_is_a_hall():
    tests = sorted((ROOT / "tests").rglob("*.py"))
    assert len(tests) > 200
    lines = {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in [*FILES, *tests]}
    assert {name: count for name, count in lines.items() if count > 350} == {}


def test_the_table_of_rooms_names_every_folder():
    page = (ROOT / "docs" / "architecture.md").read_text()
    (table,) = [part for part in page.split("\n## ") if part.startswith("The rooms")]
    rows = dict(line.strip("| ").split("/ | ", 1) for line in table.splitlines() if "/ | " in line)
    folders = {(room, path.parent.name) for room in ROOMS for path in (ROOT / room).glob("*/__init__.py")}
    assert len(folders) > 20
    assert {f"{room}/{folder}" for room, folder in folders if f"`{folder}/`" not in rows[room]} == set()


def test_functions_tell_in_sentences_what_comes_back():
    """Return the frame, not: the frame. What a command's option list shows, and attributes, may be named by a noun."""
    nouns = {"The", "A", "An", "What", "Whether", "Where", "Which", "How", "All", "Every", "Each", "Those", "Its"}
    fragments, count = [], 0
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
            docstring = ast.get_docstring(node)
            if docstring and node.returns and not re.search("property|command|group|fixture", decorators):
                count += 1
                if docstring.split()[0] in nouns and ast.unparse(node.returns) != "None":
                    fragments.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert count > 900
    assert fragments == []
