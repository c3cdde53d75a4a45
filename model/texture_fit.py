"""Texture fitting: the texture whose frame is the photo, by regularised least squares. Not in the paper.

A frame is linear in the texture t (equation 1): x = lf + W t, where W is the bilinear warp. The paper descends the
squared error of the source's reconstruction in a few learned steps (equation 7); here it is minimised, with a prior:

    min over t   sum_p w_p |W t + lf - x|^2  +  a |grad (t - t0)|^2  +  sum_q b_q (t - t0)^2

t0 is the network's texture, w_p how much pixel p counts, b_q how far texel q is left to the network. A pixel reads
2 x 2 texels, so that W' w W couples a texel with its eight neighbours alone: it is kept as five maps, and a step of
conjugate gradients costs nine multiplications a texel, however many photos there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from bilayer.model.warp import bilinear_taps, resize_picture, warp, warp_transpose


@dataclass(frozen=True)
class FitSettings:
    """How a texture is fitted; the terms are relative to a pixel that is fully seen, which counts 1."""

    smoothness: float = 0.07  # a
    seen: float = 0.001  # b of a texel that the photos show well
    unseen: float = 0.1  # b of one that they do not show: the network's texture, and a slope of a few texels to it
    # Pixels a texel, in the mean of 7 x 7: below the first it is unseen, from the second on seen. Low, since what is
    # seen at a slant, some texels of a pixel apart, is still nearer to the person than the network's guess
    coverage: tuple[float, float] = (0.02, 0.15)
    mirrored: float = 0.3  # what a pixel of the mirror image counts, where the photos show nothing
    steps: int = 200  # of conjugate gradients, at most
    residual: float = 1e-6  # of the start's norm, at which they end: then a texel is within 1e-4 of the solution


@dataclass(frozen=True, eq=False)
class View:
    """What one photo of each of B people tells of their textures."""

    uv: Tensor  # (B, S, S, 2) the warp of the photo's pose
    detail: Tensor  # (B, 3, S, S) the photo less the low-frequency layer: what the warped texture is to be
    weights: Tensor  # (B, 1, S, S) how well a pixel shows the person, 0..1
    share: float = 1.0  # of what a pixel counts, where the views before this one show the same


def fit_texture(
    texture: Tensor,
    views: Sequence[View],
    align_corners: bool,
    settings: FitSettings = FitSettings(),
    mirrored: View | None = None,
) -> Tensor:
    """Return textures (B, 3, T, T) that show what the views do, and elsewhere are the network's `texture`.

    A view of a small share counts whole where those before it show nothing. What none of them shows has the details of
    `mirrored`, the photo's mirror image: a head turned to one side hides the other, and the network guesses no locks of
    hair there. Its brightness stays the network's, since light is not mirrored.
    """
    normal, error = Stencil.zeros(texture), torch.zeros_like(texture)
    coverage = torch.zeros_like(texture[:, :1])
    size = (texture.shape[2], texture.shape[3])

    def add(view: View, weights: Tensor) -> None:
        normal.add(view.uv, weights, align_corners)
        missing = weights * (view.detail - warp(texture, view.uv, align_corners))
        error.add_(warp_transpose(missing, view.uv, size, align_corners))

    def shown(view: View) -> Tensor:  # (B, 1, S, S) how far the views so far show what a pixel of this one does, 0..1
        return warp(_seen(coverage, settings), view.uv, align_corners)

    for view in views:
        less = 1 - view.share
        add(view, view.weights * (1 - less * shown(view)) if less else view.weights)
        coverage += warp_transpose(view.weights, view.uv, size, align_corners)
    if mirrored is not None:
        missing = mirrored.detail - warp(texture, mirrored.uv, align_corners)
        brightness = _coarse(missing * mirrored.weights) / _coarse(mirrored.weights).clamp(min=0.05)
        weights = settings.mirrored * mirrored.weights * (1 - shown(mirrored))
        add(replace(mirrored, detail=mirrored.detail - brightness), weights)
    prior = settings.unseen * (settings.seen / settings.unseen) ** _seen(coverage, settings)
    normal.regularise(settings.smoothness, prior)
    return texture + _conjugate_gradients(normal, error, settings.steps, settings.residual)


def _seen(coverage: Tensor, settings: FitSettings) -> Tensor:
    """Return how far texels are seen (B, 1, T, T), 0..1, which so many pixels show."""
    low, high = settings.coverage
    return ((F.avg_pool2d(coverage, 7, 1, 3, count_include_pad=False) - low) / (high - low)).clamp(0, 1)


def _coarse(picture: Tensor) -> Tensor:
    """Return the means of 8 x 8 tiles of a picture (B, C, S, S), with slopes between them."""
    return resize_picture(F.adaptive_avg_pool2d(picture, 8), picture.shape[-1])


@dataclass(frozen=True, eq=False)
class Stencil:
    """A symmetric matrix over texels that couples each with its eight neighbours."""

    centre: Tensor  # (B, 1, T, T)
    right: Tensor  # (B, 1, T, T) with the texel to the right
    down: Tensor  # (B, 1, T, T) with the one below
    down_right: Tensor  # (B, 1, T, T)
    down_left: Tensor  # (B, 1, T, T)

    @classmethod
    def zeros(cls, like: Tensor) -> "Stencil":
        """Return the zero matrix over the texels of `like` (B, C, T, T)."""
        return cls(*(torch.zeros_like(like[:, :1]) for _ in range(5)))

    def add(self, uv: Tensor, weights: Tensor, align_corners: bool) -> None:
        """Add W' w W of a warp `uv` (B, S, S, 2), with weights (B, 1, S, S) of its pixels."""
        pixel = weights.flatten(1)
        taps = bilinear_taps(uv, (self.centre.shape[2], self.centre.shape[3]), align_corners)
        (_, a), (_, b), (_, c), (_, d) = taps
        for (place, _), products in zip(
            taps,
            (
                ((self.centre, a * a), (self.right, a * b), (self.down, a * c), (self.down_right, a * d)),
                ((self.centre, b * b), (self.down, b * d), (self.down_left, b * c)),
                ((self.centre, c * c), (self.right, c * d)),
                ((self.centre, d * d),),
            ),
            strict=True,
        ):
            for coefficients, product in products:
                coefficients.flatten(1).scatter_add_(1, place, pixel * product)

    def regularise(self, smoothness: float, prior: Tensor) -> None:
        """Add `smoothness` times the squared differences of neighbours, and the diagonal `prior` (B, 1, T, T)."""
        self.centre.add_(prior)
        for coefficients, ahead, behind in (
            (self.right, (..., slice(1, None)), (..., slice(-1))),
            (self.down, (..., slice(1, None), slice(None)), (..., slice(-1), slice(None))),
        ):
            coefficients[behind] -= smoothness
            self.centre[behind] += smoothness
            self.centre[ahead] += smoothness

    def multiply(self, x: Tensor) -> Tensor:
        """Return the matrix times x (B, C, T, T)."""
        result = self.centre * x
        first, last, inner = slice(-1), slice(1, None), slice(None)
        for coefficients, here, there in (
            (self.right, (..., inner, first), (..., inner, last)),
            (self.down, (..., first, inner), (..., last, inner)),
            (self.down_right, (..., first, first), (..., last, last)),
            (self.down_left, (..., first, last), (..., last, first)),
        ):
            result[here].addcmul_(coefficients[here], x[there])
            result[there].addcmul_(coefficients[here], x[here])
        return result


def _conjugate_gradients(matrix: Stencil, error: Tensor, steps: int, tolerance: float) -> Tensor:
    """Return x (B, C, T, T) of `matrix` x = `error`, preconditioned by the diagonal; one step size a person."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(dim=(1, 2, 3), keepdim=True)

    x, residual = torch.zeros_like(error), error.clone()
    steepest = residual / matrix.centre
    direction, power = steepest, dot(residual, steepest)
    enough = power * tolerance**2
    for _ in range(steps):
        if (power <= enough).all():
            break
        image = matrix.multiply(direction)
        length = power / dot(direction, image).clamp(min=torch.finfo(power.dtype).tiny)
        x = x + length * direction
        residual = residual - length * image
        steepest = residual / matrix.centre
        power, before = dot(residual, steepest), power
        direction = steepest + power / before.clamp(min=torch.finfo(power.dtype).tiny) * direction
    return x
