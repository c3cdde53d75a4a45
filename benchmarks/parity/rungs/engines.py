"""Rungs that are engines of the player in reduced precision: ncnn's FP16 shaders on Vulkan, OpenVINO's bfloat16."""

from collections.abc import Callable
from dataclasses import dataclass

from bilayer.benchmarks.parity.rungs.rung import NotRun, Rung
from bilayer.benchmarks.parity.subject import Subject
from bilayer.runtime.agreement import Kind
from bilayer.runtime.engines.base import TensorEngine
from bilayer.runtime.engines.load import load_engine
from bilayer.runtime.errors import BundleError, InputError, ToolMissingError
from bilayer.runtime.frame import NetworkOutputs, Values

NO_VULKAN = (
    "no Vulkan device; install the driver of yours, or Mesa's lavapipe (apt install mesa-vulkan-drivers libvulkan1)"
)
_DEVICE_KINDS = {1: ", a GPU in the processor", 2: ", a virtual GPU", 3: ", which is the CPU"}  # by ncnn's number


@dataclass(frozen=True, eq=False)
class EngineRung(Rung):
    """One of the player's engines, its network loaded."""

    subject: Subject
    engine: TensorEngine
    name: str
    label: str
    kind: Kind

    def results(self, indices: list[int]) -> list[NetworkOutputs]:
        """Return the engine's results for these poses, in memory of their own."""
        return [self.engine.run(self.subject.poses[index]).copy() for index in indices]

    def layers(self, index: int) -> dict[str, Values]:
        """Return the output tensors alone: engines rearrange the layers between."""
        self.engine.run(self.subject.poses[index])
        return {name: values.copy() for name, values in self.engine.tensors.items()}


def bfloat16(subject: Subject) -> EngineRung | NotRun:
    """Return the rung of OpenVINO in bf16, where package and processor have it; else what to do."""
    name, label = "openvino-bf16", "OpenVINO in bfloat16, CPU"

    def start() -> EngineRung:
        engine = load_engine(subject.onnx_path, subject.bundle.contract, "openvino", "bf16", threads=2)
        return EngineRung(subject, engine, name, label, "bf16")

    return _started(name, label, start)


def vulkan(subject: Subject, arithmetic: bool) -> EngineRung | NotRun:
    """Return the rung of ncnn on the default Vulkan device, FP16 in storage or in arithmetic, too; else what to do."""
    name = "vulkan-fp16" if arithmetic else "vulkan-fp16-hybrid"
    what = "FP16 storage and arithmetic" if arithmetic else "FP16 storage, float32 sums"

    def start() -> EngineRung:
        from bilayer.runtime.engines.ncnn import Ncnn, NcnnSettings

        settings = NcnnSettings("compute" if arithmetic else "store", vulkan=True)
        engine = Ncnn(subject.onnx_path, subject.bundle.contract, settings)
        label = f"the ONNX by ncnn's Vulkan shaders, {what}, on {_device()} (not an Adreno)"
        return EngineRung(subject, engine, name, label, "fp16" if arithmetic else "fp16-hybrid")

    return _started(name, f"ncnn Vulkan shaders, {what}", start)


def _started(name: str, label: str, start: Callable[[], EngineRung]) -> EngineRung | NotRun:
    try:
        return start()
    except BundleError:  # the avatar is at fault, not the tool
        raise
    except ImportError:
        return NotRun(name, label, "ncnn is not installed; pip install 'bilayer[ncnn]'")
    except ToolMissingError as error:
        advice = NO_VULKAN if name.startswith("vulkan") and "no Vulkan device" in str(error) else str(error)
        return NotRun(name, label, advice)
    except InputError as error:  # a processor without bfloat16
        return NotRun(name, label, str(error).partition("; ")[0])


def _device() -> str:
    from bilayer.runtime.engines.ncnn import load_ncnn

    ncnn = load_ncnn()
    device = ncnn.get_gpu_info(ncnn.get_default_gpu_index())
    kind = _DEVICE_KINDS.get(device.type(), "")
    return f"{device.device_name()}{kind}"
