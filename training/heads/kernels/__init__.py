"""The renderer's inner loops, compiled by Numba: geometry, rasteriser, shading.

All kernels are single-threaded, release the GIL and sum in a fixed order, so that a picture has the same bytes in any
process and beside any number of threads (BLAS, for one, sums differently with the number of threads it finds).
"""
