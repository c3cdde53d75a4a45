"""The texture sampler that phones lack: kernels in Numba, numpy and C, and the compositor of a frame."""
