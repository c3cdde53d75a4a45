"""`bilayer-export --check` and `--inspect`: a network's file against a target's rules, or what it holds."""

from dataclasses import asdict
from pathlib import Path

import click

from bilayer.export.formats.network_file import check_network_file, known_network_kind
from bilayer.export.options import ConversionTarget
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.command.console import show
from bilayer.runtime.errors import InputError
from bilayer.runtime.files.reading import is_folder


def check_file(path: Path, target: ConversionTarget | None, as_json: bool) -> None:
    """Print the rules of `target` that an ONNX or .tflite file breaks; raise an InputError if one is an error."""
    if target == "none":
        raise click.UsageError("--target none has no rules, so there is nothing to check; name a target")
    kind = check_network_file(path)
    from bilayer.export.convert.tools import default_target
    from bilayer.export.formats.onnx_file import read_model
    from bilayer.export.integers.rules import check_onnx
    from bilayer.export.targets import RULES_FOR

    if kind == ".tflite":
        from bilayer.export.tflite.read import read_tflite
        from bilayer.export.tflite.rules import check_tflite

        if target not in (None, "litert"):
            raise click.UsageError(f"{path} is a .tflite, which --target {target} does not read; check it for litert")
        rules, findings = RULES_FOR["litert"], check_tflite(read_tflite(path))
    else:
        rules = RULES_FOR[target or default_target()]
        findings = check_onnx(read_model(path), rules)
    lines = [f"{finding.severity}: {finding.describe()}\n    source: {finding.source}" for finding in findings]
    errors = sum(finding.severity == "error" for finding in findings)
    if not errors:
        lines.append(f"{path}: fits {rules}" + (f", with {len(findings)} warnings" if findings else ""))
    report = {"file": str(path), "target": rules, "findings": [asdict(finding) for finding in findings]}
    show(report, lambda: "\n".join(lines), as_json)
    if errors:
        raise InputError(f"{path}: {errors} rules of {rules} broken; correct the model and check it again")


def inspect_file(path: Path, as_json: bool) -> None:
    """Print what a .dlc, .onnx or .tflite holds, or a bundle's networks."""
    if is_folder(path) or path.suffix == ".json":
        bundle = read_bundle(path)
        from bilayer.export.inspect import bundle_show

        show(bundle_show.describe(bundle), lambda: bundle_show.as_text(bundle), as_json)
        return
    kind = known_network_kind(path)
    if kind == ".onnx":
        from bilayer.export.formats.onnx_file import read_model
        from bilayer.export.inspect import onnx_show

        model = read_model(path)
        show(onnx_show.describe(model, path), lambda: onnx_show.as_text(model, path), as_json)
        return
    if kind == ".tflite":
        from bilayer.export.tflite import show as tflite
        from bilayer.export.tflite.read import read_tflite

        file = read_tflite(path)
        show(tflite.describe(file), lambda: tflite.as_text(file), as_json)
        return
    from bilayer.export.dlc.read import as_text, describe, read_dlc

    dlc = read_dlc(path)
    show(describe(dlc), lambda: as_text(dlc), as_json)
