"""What a --json prints is JSON: NaN and Infinity are none, and stand in no text that a command writes."""

import ast
import json
import math
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from bilayer.runtime.command.console import Command, as_json_option, show
from bilayer.runtime.command.json_text import json_text

TOP = Path(__file__).parents[2]
ROOMS = ("android_harness", "benchmarks", "bilayer", "export", "model", "runtime", "training")
SOURCES = [path for room in ROOMS for path in sorted((TOP / room).rglob("*.py"))]
NOT_FINITE = [math.nan, math.inf, -math.inf, np.float64("nan"), float(np.float32("inf"))]


def strictly(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_what_is_not_finite_is_null_at_any_depth(value):
    content = {"a": value, "b": [1.5, (value, {"c": value})], "d": {"e": [value]}, "text": "NaN", "none": None}
    wanted = {"a": None, "b": [1.5, [None, {"c": None}]], "d": {"e": [None]}, "text": "NaN", "none": None}
    assert strictly(json_text(content)) == wanted
    assert strictly(json_text(content, None)) == wanted


def test_what_is_finite_stays_as_it_is():
    content = {"größe": [0.1, -0.0, 1e308, 5e-324, 2**70, True, None, ""], "b": {}}
    assert json_text(content) == json.dumps(content, indent=2)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_command_prints_null_with_json_and_the_word_without(value):
    @click.command(cls=Command)
    @as_json_option
    def main(as_json):
        show({"found": [value]}, lambda: f"found {value}", as_json)

    assert strictly(CliRunner().invoke(main, ["--json"]).stdout) == {"found": [None]}
    assert CliRunner().invoke(main, []).stdout == f"found {value}\n"


@pytest.fixture(scope="module")
def trees():
    return {path.relative_to(TOP).as_posix(): ast.parse(path.read_text()) for path in SOURCES}


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_no_source_writes_json_that_may_hold_nan(trees):
    found = [
        f"{name}:{call.lineno}: {ast.unparse(call)}"
        for name, tree in trees.items()
        for call in calls(tree)
        if ast.unparse(call.func) in ("json.dumps", "json.dump")
        and not any(k.arg == "allow_nan" and ast.unparse(k.value) == "False" for k in call.keywords)
    ]
    assert found == []


def test_json_is_imported_by_that_name_alone(trees):
    nodes = [(name, node) for name, tree in trees.items() for node in ast.walk(tree)]
    assert [name for name, node in nodes if isinstance(node, ast.ImportFrom) and node.module == "json"] == []
    aliases = [(name, alias) for name, node in nodes if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name, alias in aliases if alias.name == "json" and alias.asname] == []


def test_every_commands_json_goes_through_one_door(trees):
    """`as_json` is handed on, at last to `show`, or asked for what text alone adds: nothing else prints by it."""
    asked, door = 0, "runtime/command/console.py"
    for name, tree in trees.items():
        handed_on = {id(v) for call in calls(tree) for v in (*call.args, *(k.value for k in call.keywords))}
        handed_on |= {id(n.operand) for n in ast.walk(tree) if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.Not)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id == "as_json" and isinstance(node.ctx, ast.Load):
                asked += 1
                assert name == door or id(node) in handed_on, f"{name}:{node.lineno}: print by `show` of {door}"
    assert asked > 30
