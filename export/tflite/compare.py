"""Is a .tflite the network that its ONNX is? Compared with what the writer makes of the ONNX's own layers."""

from collections.abc import Iterator

import numpy as np

from bilayer.export.tflite.read import TfliteFile, TfliteTensor


def difference(found: TfliteFile, expected: TfliteFile) -> str:
    """Return where two files first differ in operators, settings, edges, types or numbers to the bit; else nothing."""
    return next(_differences(found, expected), "")


def _differences(found: TfliteFile, expected: TfliteFile) -> Iterator[str]:
    kinds = [[operator.kind for operator in file.operators] for file in (found, expected)]
    if kinds[0] != kinds[1]:
        yield f"expected operators {_first_apart(kinds[1], kinds[0])}"
        return
    for one, other in zip(found.operators, expected.operators, strict=True):
        where = expected.where(other)
        if one.version != other.version:
            yield f"{where}: expected {other.kind} version {other.version}, found {one.version}"
        if one.settings != other.settings:
            yield f"{where}: expected {dict(other.settings)}, found {dict(one.settings)}"
        if _names(found, one.inputs) != _names(expected, other.inputs):
            yield f"{where}: expected inputs {_names(expected, other.inputs)}, found {_names(found, one.inputs)}"
        pairs = zip((*one.inputs, *one.outputs), (*other.inputs, *other.outputs), strict=False)
        for number, right in pairs:
            if min(number, right) >= 0:
                yield from _apart(found.tensors[number], expected.tensors[right])
    for what, ends, right_ends in (
        ("inputs", found.inputs, expected.inputs),
        ("outputs", found.outputs, expected.outputs),
    ):
        if _names(found, ends) != _names(expected, right_ends):
            yield f"expected {what} {_names(expected, right_ends)}, found {_names(found, ends)}"


def _apart(one: TfliteTensor, other: TfliteTensor) -> Iterator[str]:
    for what in ("name", "shape", "dtype", "scale", "zero_point"):
        if getattr(one, what) != getattr(other, what):
            yield f"{other.name}: expected {what} {getattr(other, what)}, found {getattr(one, what)}"[:200]
    if one.data is None or other.data is None:
        if one.constant != other.constant:
            yield f"{other.name}: expected {'a constant' if other.constant else 'no constant'}"
    elif one.data.tobytes() != other.data.tobytes() and one.data.shape == other.data.shape:
        unlike = one.data != other.data
        worst = float(np.abs(one.data.astype(np.float64) - other.data).max())
        yield f"{other.name}: {int(unlike.sum())} of {unlike.size} numbers differ, by up to {worst:.3g}"


def _names(file: TfliteFile, numbers: tuple[int, ...]) -> list[str]:
    return [file.tensors[number].name if number >= 0 else "none" for number in numbers]


def _first_apart(expected: list[str], found: list[str]) -> str:
    place = next((k for k, (one, other) in enumerate(zip(expected, found, strict=False)) if one != other), None)
    if place is None:
        return f"{len(expected)} of them, found {len(found)}"
    return f"{expected[place]} at {place}, found {found[place]}"
