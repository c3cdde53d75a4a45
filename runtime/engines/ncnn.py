"""ncnn on the CPU, or on a Vulkan device."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bilayer.runtime.bundle import Contract
from bilayer.runtime.engines.base import TensorEngine
from bilayer.runtime.engines.ncnn_convert import NcnnNetwork, ncnn_network
from bilayer.runtime.errors import BundleError, ConversionError, ToolMissingError
from bilayer.runtime.process.environment import environment_default
from bilayer.runtime.process.native_stderr import sifting

Half = Literal["no", "store", "compute"]


@dataclass(frozen=True)
class NcnnSettings:
    """How ncnn runs a network."""

    # What is 16 bits wide: nothing; weights and what lies between layers; the arithmetic as well, where the processor
    # or device has it. On Vulkan "store" is SNPE's GPU_FLOAT32_16_HYBRID, "compute" its GPU_FLOAT16.
    half: Half = "no"
    vulkan: bool = False  # on ncnn's default Vulkan device, else on the CPU
    threads: int | None = None  # of the CPU; None: all physical cores


class Ncnn(TensorEngine):
    """ncnn, its weights in memory, its working memory kept from frame to frame on the CPU.

    Raises:
        BundleError: no network, or not the one of the contract.
        ConversionError: pnnx refuses it, or it has a layer that ncnn does not.
        ToolMissingError: pnnx is not installed, or there is no Vulkan device.
    """

    def __init__(self, path: Path, contract: Contract, settings: NcnnSettings = NcnnSettings()) -> None:
        ncnn = load_ncnn()
        network = ncnn_network(path, contract)
        super().__init__(path, contract, network.ends)
        self.name = "ncnn-vulkan" if settings.vulkan else "ncnn"
        self.precision = "fp32" if settings.half == "no" else "fp16"
        self._path = path
        with sifting(lambda line: True):  # devices and failures, which are said in our own words
            if settings.vulkan and ncnn.get_gpu_count() == 0:
                raise ToolMissingError(
                    "engine ncnn-vulkan: found no Vulkan device; install its driver, or --engine ncnn"
                )
            _check_layers(path, network)
            self._net, self._pools = _configured(settings)  # in this order: the net must go before its memory
            code = self._net.load_param(str(network.param)) or self._net.load_model(str(network.weights))
        if code != 0:
            raise BundleError(f"{path}: not a network that can be run (ncnn's code {code}); export the avatar again")
        self._input = ncnn.Mat(self._pose[0])  # the same memory
        self._results = [(f"out{i}", array[0]) for i, array in enumerate(self.tensors.values())]

    def _compute(self) -> None:
        extractor = self._net.create_extractor()
        extractor.input("in0", self._input)
        for name, array in self._results:
            code, result = extractor.extract(name)
            planes = np.asarray(result)
            if code != 0 or planes.shape != array.shape:
                found = f"code {code}, shape {planes.shape}, expected {array.shape}"
                raise BundleError(f"{self._path}: ncnn failed ({found}); choose another --engine")
            array[...] = planes


def load_ncnn() -> Any:
    """Return the module, whose threads sleep while they wait for each other, unless the environment says otherwise.

    Its OpenMP has them spin. On cores that others want too, that took four to five times as long as sleeping.
    """
    with environment_default("OMP_WAIT_POLICY", "passive"):  # read once, as the library is loaded
        import ncnn
    return ncnn


def _configured(settings: NcnnSettings) -> tuple[Any, list[Any]]:
    """An empty net, and what gives it memory."""
    ncnn = load_ncnn()
    net, pools = ncnn.Net(), []
    options = net.opt
    options.use_fp16_packed = options.use_fp16_storage = settings.half != "no"
    options.use_fp16_arithmetic = settings.half == "compute"
    options.use_bf16_packed = options.use_bf16_storage = False
    if settings.threads is not None:
        options.num_threads = settings.threads
    options.use_vulkan_compute = settings.vulkan
    if settings.vulkan:
        net.set_vulkan_device(ncnn.get_default_gpu_index())
    else:
        pools = [ncnn.PoolAllocator(), ncnn.PoolAllocator()]
        options.blob_allocator, options.workspace_allocator = pools
    return net, pools


def _check_layers(path: Path, network: NcnnNetwork) -> None:
    ncnn = load_ncnn()
    kinds = {line.split()[0] for line in network.param.read_text().splitlines()[2:] if line.strip()}
    unknown = sorted(kind for kind in kinds if ncnn.layer_to_index(kind) == -1)
    if unknown:
        advice = "export the avatar with --upsample deconv or nearest, or choose another --engine"
        raise ConversionError(f"{path}: ncnn {ncnn.__version__} has no layer {', '.join(unknown)}; {advice}")
