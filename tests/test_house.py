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


PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_table_of_rooms_names_every_folder_and_file():
    (table,) = [part for part in PAGE.split("\n## ") if part.startswith("The rooms")]
    rows = dict(line.strip("| ").split("/ | ", 1) for line in table.splitlines() if "/ | " in line)
    folders = {(room, f"{path.parent.name}/") for room in rows for path in (ROOT / room).glob("*/__init__.py")}
    files = {(room, path.stem) for room in rows for path in (ROOT / room).glob("[!_]*.py")}
    usual = {"cli", "cli_setup", "options"}  # of every room
    assert rows.keys() == {*ROOMS}
    assert len(folders) > 20
    assert len(files) > 60
    assert {(room, name) for room, name in folders | files if f"`{name}`" not in rows[room]} - {
        (room, name) for room in rows for name in usual
    } == set()
    named = {(room, name) for room, row in rows.items() for name in re.findall(r"`(\w+)`", row)}
    gone = {(room, name) for room, name in named if not [*(ROOT / room).rglob(f"{name}.py")]}
    assert gone == set()


def test_the_drawings_name_files_and_functions_that_are_there():
    drawings = "\n".join(re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL))
    drawn = re.findall(r"\| +([a-z_/]+\.py) +([^\n]+)", drawings)
    assert len(drawn) > 10
    missing = []
    for file, told in drawn:
        code = (ROOT / file).read_text()
        functions = re.findall(r"(?:(\w+)\.)?\b([a-z]+_[a-z_]+|lower|fold|convert)\b", told.split(": ")[0])
        for module, name in functions:
            there = code if not module else next((ROOT / file).parent.glob(f"{module}.py")).read_text()
            if not re.search(rf"^(def|class) {name}\b", there, re.MULTILINE):
                missing.append((file, name))
    assert missing == []


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
