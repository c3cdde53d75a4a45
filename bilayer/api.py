"""What `import bilayer` offers beside what it hands on from the rooms: one function for each task of a user."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, overload

from bilayer.export.options import ConversionTarget, ExportOptions
from bilayer.runtime.bundle import read_bundle
from bilayer.runtime.command.extras import naming_extras
from bilayer.runtime.errors import InputError
from bilayer.runtime.player import AvatarPlayer

if TYPE_CHECKING:
    from bilayer.benchmarks.parity.ladder import Ladder
    from bilayer.export.pipeline import Export
    from bilayer.export.targets import Finding

P = ParamSpec("P")


def _taking(settings: Callable[P, ExportOptions]) -> Callable[P, "Export"]:
    """`export_avatar` with the arguments of `settings`: no second list of them."""

    @naming_extras()
    def export_avatar(*args: P.args, **kwargs: P.kwargs) -> "Export":
        """Turn a photo into an avatar's bundle, compared with the trained model before it is written.

        The arguments are the fields of `bilayer.export.options.ExportOptions`, which tells what each does; strings
        will do for paths. Needs the extra [export].

        Returns:
            The bundle, what may spoil the avatar, seconds by stage, and why there is no .dlc where the converter is not
            installed.

        Raises:
            InputError: the photo, landmarks, checkpoint or place to write are not usable, or the target refuses the
                network.
            ParityError: the exported network or the converted weights differ from the trained ones.
            ToolMissingError: torch, onnx or what finds the face is not installed.
        """
        if "keypoints" in kwargs:  # as 0.2 called them
            kwargs["landmarks"] = kwargs.pop("keypoints")
        options = settings(*args, **kwargs)
        from bilayer.export.pipeline import export_avatar

        return export_avatar(options)

    export_avatar.__signature__ = inspect.signature(settings)  # type: ignore[attr-defined]
    return export_avatar


export_avatar = _taking(ExportOptions)
load_avatar = AvatarPlayer.load


@overload
def check(path: str | Path, target: None = None, *, poses: int = 2) -> "Ladder": ...
@overload
def check(path: str | Path, target: ConversionTarget) -> "list[Finding]": ...
@naming_extras()
def check(path: str | Path, target: ConversionTarget | None = None, *, poses: int = 2) -> "Ladder | list[Finding]":
    """Find out whether an avatar computes what was trained; or, given a target, whether that can take its network.

    Needs the extra [export].

    Args:
        path: a bundle: its folder or its avatar.json. With a target it may be any .onnx, too; for litert any .tflite.
        target: whose rules to check: "qairt", "qairt-sdk", "snpe-1.32" or "litert".
        poses: how many to compare, without a target.

    Returns:
        Without a target the quick rungs of the parity ladder, whatever their verdict: ONNX Runtime, the .dlc's weights
        and emulated FP16, against float64; `require()` raises a ParityError that names the first failure. With a
        target the rules that the network breaks, errors and warnings; none where it fits.

    Raises:
        InputError: no such file, not an ONNX model, or a target without rules.
        BundleError: no bundle, or a damaged one.
        ToolMissingError: torch or onnx is not installed.
    """
    from bilayer.benchmarks.parity.ladder import check_bundle
    from bilayer.export.formats.onnx_file import read_model
    from bilayer.export.targets import RULES_FOR, check_target

    given = Path(path)
    if target is None:
        return check_bundle(read_bundle(given), poses)
    if target not in RULES_FOR:
        raise InputError(f"target: expected one of {', '.join(RULES_FOR)}; found {target!r}")
    if target == "litert" and given.suffix == ".tflite":
        from bilayer.export.tflite.read import read_tflite
        from bilayer.export.tflite.rules import check_tflite

        return check_tflite(read_tflite(given))
    if given.suffix != ".onnx":
        bundle = read_bundle(given)
        given = bundle.path(bundle.contract.files.onnx)
    return check_target(read_model(given), RULES_FOR[target])
