"""The vendor's two programs that run a .dlc on a device: what each needs there, and how it is told what to do.

snpe-net-run (SNPE 1.x and 2.x): options and files after the SDK's reference guide, Tools; `--gpu_mode float16` is
half precision in storage and arithmetic, plain `--use_gpu` the hybrid: half storage, float arithmetic.
qnn-net-run (2.x): a backend library, and libQnnModelDlc.so that makes its graph from the .dlc. Precisions of its GPU
backend are set in a file of backend settings, which this does not write: mode `gpu` is the .dlc's own precision.

A .dlc in integers has modes on Hexagon besides, none of which has run anywhere. `dsp`: snpe-net-run --use_dsp, which is
the HTP from v68 on; stub and skel by docs.qualcomm.com/doc/80-63442-10/topic/dsp_runtime.html, in SNPE 2's default
unsigned domain (.../topic/signed_unsigned_pd.html). `htp`: qnn-net-run --backend libQnnHtp.so, which prepares the graph
on the phone. `htp-context`: qnn-context-binary-generator writes what it prepares, also on the phone, so that nobody has
to say which Hexagon it is, and qnn-net-run --retrieve_context loads that, as an app would (.../topic/la_gvm.html).
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bilayer.android_harness.device.workspace import OUT, ROOT
from bilayer.android_harness.routes.sdk import Sdk
from bilayer.runtime.bundle import Bundle
from bilayer.runtime.errors import BundleError, InputError
from bilayer.runtime.vocabulary import checked_word

if TYPE_CHECKING:
    from bilayer.runtime.agreement import Kind  # which takes numpy, and these words are the options'

RouteName = Literal["snpe", "qnn"]
Mode = Literal[
    "gpu-fp16", "gpu-fp16-hybrid", "gpu", "cpu", "dsp", "htp", "htp-context",
    "ncnn-cpu", "ncnn-cpu-fp16", "ncnn-vulkan", "ncnn-vulkan-fp16-hybrid", "ncnn-vulkan-fp16",
    "litert-gpu-fp16", "litert-gpu", "litert-xnnpack", "litert-xnnpack-fp16",
    "executorch-xnnpack", "executorch-vulkan",
    "aihub-tflite-gpu", "aihub-tflite-cpu", "aihub-dlc-npu",
]  # fmt: skip
Profiling = Literal["basic", "detailed"]

COMPUTES_IN: "dict[Mode, Kind]" = {  # which says what a mode's results are held to
    "gpu-fp16": "fp16",
    "gpu-fp16-hybrid": "fp16-hybrid",
    "gpu": "fp32",  # the .dlc's own precision, and bilayer-export writes float32
    "cpu": "fp32",
    "dsp": "fp16",  # of integers: see `held_to`
    "htp": "fp16",
    "htp-context": "fp16",
    "ncnn-cpu": "fp32",
    "ncnn-cpu-fp16": "fp16",
    "ncnn-vulkan": "fp32",
    "ncnn-vulkan-fp16-hybrid": "fp16-hybrid",
    "ncnn-vulkan-fp16": "fp16",
    "litert-gpu-fp16": "fp16",
    "litert-gpu": "fp32",
    "litert-xnnpack": "fp32",
    "litert-xnnpack-fp16": "fp16",
    "executorch-xnnpack": "fp32",
    "executorch-vulkan": "fp32",
    "aihub-tflite-gpu": "fp16",
    "aihub-tflite-cpu": "fp32",
    "aihub-dlc-npu": "fp16",
}

MODEL = "avatar.dlc"  # in the device's folder
# What the programs and the app ask for alike: SNPE 1.x's Java API has no `burst`
PERFORMANCE_PROFILE = "high_performance"
# As the SDK's documents have it for its programs on Android; the last three are the system's own
_DSP_PATH = f"{ROOT}/lib;/system/lib/rfsa/adsp;/system/vendor/lib/rfsa/adsp;/dsp"
_QNN_BACKENDS = {"gpu": "libQnnGpu.so", "cpu": "libQnnCpu.so", "htp": "libQnnHtp.so", "htp-context": "libQnnHtp.so"}
_QNN_CONTEXT = "qnn-context-binary-generator"
CONTEXT = "context"  # folder in the device's, for what it prepares


@dataclass(frozen=True)
class Route:
    """One of the vendor's two ways to run a .dlc on a device: the program, its viewer and its modes."""

    name: RouteName
    program: str  # runs on the device
    viewer: str  # reads its log here
    logs: tuple[str, ...]  # names that the log may have, in the output folder
    modes: dict[Mode, str]  # what it can run on, and what that is called
    names_outputs: bool  # its input lists say which outputs to return; QNN returns what its graph ends in
    integer_modes: dict[Mode, str]  # those that a .dlc in integers has besides

    def modes_for(self, bundle: Bundle) -> dict[Mode, str]:
        """Return the modes that a bundle's .dlc can run in."""
        return self.modes | (self.integer_modes if bundle.contract.quantization is not None else {})

    def files(self, sdk: Sdk, model: Path, integers: bool = False) -> dict[str, Path]:
        """Return the files that go to the device, by their names there; for `integers` Hexagon's, of every version.

        Raises:
            ToolMissingError: it is not in the SDK.
        """
        if self.name == "qnn":
            needed = ("libQnnGpu.so", "libQnnCpu.so", "libQnnSystem.so", "libQnnModelDlc.so")
            libraries = sdk.libraries(needed, ("libc++_shared.so", "libQnnIr.so"))
        elif sdk.era == "1.x":
            libraries = sdk.libraries(("libSNPE.so",), ("*.so",))  # few, and libSNPE.so loads some of the others
        else:
            libraries = sdk.libraries(("libSNPE.so",), ("libc++_shared.so",))  # of a gigabyte for other processors
        files = {f"bin/{self.program}": sdk.program(self.program), MODEL: model}
        if integers and self.name == "qnn":
            libraries += sdk.libraries(("libQnnHtp.so", "libQnnHtpPrepare.so"), ("libQnnHtpV*Stub.so",))
            libraries += sdk.skels("libQnnHtpV*Skel.so")
            files[f"bin/{_QNN_CONTEXT}"] = sdk.program(_QNN_CONTEXT)
        elif integers:
            libraries += sdk.libraries((), ("libSnpeHtpPrepare.so", "libSnpeHtpV*Stub.so", "libSnpeDspV*Stub.so"))
            libraries += sdk.skels("libSnpe*Skel.so")
        return files | {f"lib/{path.name}": path for path in libraries}

    def command(self, mode: Mode, profiling: Profiling, input_list: str) -> str:
        """Return the command for the device's shell in its folder, to run the inputs of the list and write to OUT."""
        prepare: list[str] = []
        if self.name == "qnn":
            model = ["--backend", f"lib/{_QNN_BACKENDS[mode]}", "--model", "lib/libQnnModelDlc.so", "--dlc_path", MODEL]
            if mode == "htp-context":
                prepare = [f"./bin/{_QNN_CONTEXT}", *model, "--output_dir", CONTEXT, "--binary_file", "avatar"]
                model = [*model[:2], "--retrieve_context", f"{CONTEXT}/avatar.bin"]
            arguments = [*model, "--input_list", input_list]
        else:
            runtime = {"gpu-fp16": ["--use_gpu", "--gpu_mode", "float16"], "gpu-fp16-hybrid": ["--use_gpu"]}
            runtime["dsp"] = ["--use_dsp"]
            arguments = ["--container", MODEL, "--input_list", input_list, *runtime.get(mode, [])]
        arguments += ["--output_dir", OUT, "--perf_profile", PERFORMANCE_PROFILE, "--profiling_level", profiling]
        paths = f"LD_LIBRARY_PATH={ROOT}/lib ADSP_LIBRARY_PATH={shlex.quote(_DSP_PATH)}"
        run = shlex.join([f"./bin/{self.program}", *arguments])
        if not prepare:
            return f"{paths} {run}"
        # One process, which is the program's in the end: the harness stops it by its number and its name
        steps = f"export {paths}; rm -rf {CONTEXT} && {shlex.join(prepare)} && exec {run}"
        return f"sh -c {shlex.quote(steps)}"


ROUTES: dict[RouteName, Route] = {
    "snpe": Route(
        "snpe", "snpe-net-run", "snpe-diagview", ("SNPEDiag_0.log", "SNPEDiag.log"),
        {"gpu-fp16": "GPU_FLOAT16", "gpu-fp16-hybrid": "GPU_FLOAT32_16_HYBRID", "cpu": "CPU"}, names_outputs=True,
        integer_modes={"dsp": "DSP or HTP, integers"},
    ),
    "qnn": Route(
        "qnn", "qnn-net-run", "qnn-profile-viewer", ("qnn-profiling-data_0.log", "qnn-profiling-data.log"),
        {"gpu": "GPU, precision of the .dlc", "cpu": "CPU"}, names_outputs=False,
        integer_modes={"htp": "HTP, integers", "htp-context": "HTP, integers, from a context binary"},
    ),
}  # fmt: skip


def held_to(mode: Mode, bundle: Bundle) -> "Kind":
    """Return what a mode's results are held to: those of a .dlc in integers as FP16 arithmetic, whatever computes it.

    What computes in float from weights in FP16, of a .tflite, is held to half storage.
    """
    contract, kind = bundle.contract, COMPUTES_IN[mode]
    if contract.quantization is not None and any(
        mode in route.modes | route.integer_modes for route in ROUTES.values()
    ):
        return "fp16"
    half_weights = mode.startswith("litert-") and contract.files.tflite is None
    return "fp16-hybrid" if half_weights and kind == "fp32" else kind


def choose_route(sdk: Sdk, bundle: Bundle, wanted: RouteName | None = None) -> Route:
    """Return the route of an SDK for a bundle's .dlc.

    Raises:
        BundleError: the bundle has no .dlc, or one that this SDK's runtime does not read.
        InputError: no such route.
    """
    contract = bundle.contract
    if contract.files.dlc is None or contract.dlc is None:
        target = "snpe-1.32" if sdk.era == "1.x" else "qairt"
        raise BundleError(f"{bundle.folder}: has no .dlc; export it again with bilayer-export --target {target}")
    route = ROUTES[checked_word(wanted or ("snpe" if sdk.has("snpe-net-run") else "qnn"), RouteName, "route")]
    path, container = bundle.path(contract.files.dlc), contract.dlc.container
    if sdk.era == "1.x" and container > 3:
        raise BundleError(
            f"{path}: a DLC v{container}, which SNPE 1.x cannot read; set $SNPE_ROOT to a 2.x SDK, or export again "
            "with bilayer-export --target snpe-1.32"
        )
    if route.name == "qnn" and container < 4:
        raise BundleError(f"{path}: a DLC v{container}, which QNN cannot read; export again with --target qairt")
    return route


def input_list(tensor: str, inputs: Sequence[str], outputs: Sequence[str] = ()) -> str:
    """Return an input list's text: the outputs to return, if any are named, then a line for each execution."""
    head = [f"#{' '.join(outputs)}"] if outputs else []
    return "".join(f"{line}\n" for line in [*head, *(f"{tensor}:={name}" for name in inputs)])


def choose_modes(program: str, modes: Iterable[Mode], wanted: Sequence[str]) -> list[Mode]:
    """Return those of a program's modes that are wanted, in their order; none are all.

    Raises:
        InputError: one that the program does not have.
    """
    known = list(modes)
    for mode in wanted:
        if mode not in known:
            integers = any(mode in route.integer_modes for route in ROUTES.values() if route.program == program)
            hint = "; it is for a .dlc in integers (bilayer-export --precision w8a16)" if integers else ""
            raise InputError(f"mode {mode}: {program} has {', '.join(known)}{hint}")
    return [mode for mode in known if not wanted or mode in wanted]
