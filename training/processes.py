"""One process, or many through `torchrun`: who I am, and sums over all of them."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from bilayer.runtime.errors import InputError


@dataclass(frozen=True)
class Process:
    """This process among those of a training run."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Tell whether this process is the first: the one that writes files."""
        return self.rank == 0


@contextmanager
def join_processes(device: str) -> Iterator[Process]:
    """Join the run that `torchrun` started, or be alone. `device` is a torch device, or "auto": a GPU if there is one.

    "cuda" is this process's own GPU. NCCL between GPUs, gloo between CPUs.

    Raises:
        InputError: no such device here.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    with ExitStack() as kept:
        try:
            process = Process(rank, count, torch.device(name))
            torch.zeros(1, device=process.device)  # is it there?
            if process.device.type == "cuda":
                kept.enter_context(torch.cuda.device(process.device))
        except (RuntimeError, AssertionError) as error:  # builds without CUDA assert that they have it
            raise InputError(f"--device {device}: cannot be used: {str(error).splitlines()[0]}") from error
        if count > 1:
            dist.init_process_group("nccl" if process.device.type == "cuda" else "gloo")
            kept.callback(dist.destroy_process_group)
        yield process


def is_distributed() -> bool:
    """Tell whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Return the sum, differentiable; the tensor itself where there is one process."""
    return _SumOverProcesses.apply(tensor) if is_distributed() else tensor  # type: ignore[no-untyped-call]


def mean_over_processes(tensor: Tensor) -> Tensor:
    """Return the mean of all elements, over all processes, each of which has as many."""
    mean = tensor.mean()
    return sum_over_processes(mean) / dist.get_world_size() if is_distributed() else mean


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the statistics of all processes' batches. torch's own (nn.SyncBatchNorm) knows GPUs only."""

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        if not self.training or not is_distributed():
            return super().forward(x)
        count = x.numel() / x.shape[1] * dist.get_world_size()
        mean = sum_over_processes(x.sum(dim=(0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = sum_over_processes(centred.square().sum(dim=(0, 2, 3))) / count
        self._accumulate(mean.detach(), variance.detach() * count / (count - 1))
        y = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        return y * self.weight[:, None, None] + self.bias[:, None, None] if self.affine else y

    def _accumulate(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def synchronize_batch_norms(network: nn.Module) -> None:
    """Give every batch norm of `network` the statistics of all processes; parameters and names stay."""
    for module in network.modules():
        for name, child in list(module.named_children()):
            if type(child) is nn.BatchNorm2d:
                replacement = SynchronizedBatchNorm2d(
                    child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
                )
                replacement._parameters, replacement._buffers = child._parameters, child._buffers
                setattr(module, name, replacement)
