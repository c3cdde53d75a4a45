"""A person's skin, painted texel by texel on the neutral generic head: the albedo of face, head and neck."""

import numpy as np
from numpy.typing import NDArray

from bilayer.runtime.arrays import Floats
from bilayer.training.heads.atlas import SkinAtlas
from bilayer.training.heads.look import Look
from bilayer.training.heads.noise import image_noise, smooth, solid_noise

EAR_X, EAR_Y, EAR_Z = 7.2, (-3.6, 5.2), (-3.2, 3.4)  # cm: no hair grows in this box on either side
EAR_EDGE = 0.7  # cm over which the box fades


def ear(position: Floats) -> Floats:
    """Return how far each of the positions (n, 3), in cm, belongs to an ear: (n,) in 0..1."""
    x, y, z = position.T
    share = smooth(EAR_X - EAR_EDGE, EAR_X, np.abs(x))
    for axis, (low, high) in ((y, EAR_Y), (z, EAR_Z)):
        share = share * smooth(low - EAR_EDGE, low, axis) * smooth(high + EAR_EDGE, high, axis)
    return share


class Painter:
    """Albedo (n, 3) sRGB of an atlas's texels, built up in layers."""

    def __init__(self, atlas: SkinAtlas, look: Look, rng: np.random.Generator) -> None:
        self.atlas, self.look, self.rng = atlas, look, rng
        self.x, self.y, self.z = (np.ascontiguousarray(axis) for axis in atlas.position.T)
        self.side = np.abs(self.x)
        self.front = smooth(3.0, 5.0, self.z) * atlas.on_face
        self.fine = image_noise(rng, atlas.nearest.shape, 1.0).ravel()[atlas.texels]
        self.patchy = solid_noise(rng, atlas.position, 2.2)
        self.albedo = np.empty((len(self.x), 3), np.float32)
        self.albedo[:] = look.skin

    def tint(self, amount: Floats, factor: tuple[float, float, float]) -> None:
        """Multiply by `factor` where `amount` (n,) is 1, by 1 where it is 0."""
        self.albedo *= 1 - amount[:, None] * (1 - np.array(factor, np.float32))

    def cover(self, amount: Floats, colour: NDArray[np.float64], grain: float = 0.0) -> None:
        """Lay `colour` (3,) over by `amount` (n,), with `grain` of fine noise in it."""
        layer = np.multiply.outer(1 + grain * self.fine, colour).astype(np.float32)
        self.albedo += amount[:, None] * (layer - self.albedo)

    def blob(self, x: float, y: float, width: float, height: float) -> Floats:
        """Return a soft spot (n,) on both sides of the face; centre and radii in cm."""
        return np.asarray(
            np.exp(-(((self.side - x) / width) ** 2) - ((self.y - y) / height) ** 2) * self.front, dtype=np.float32
        )


def paint_skin(atlas: SkinAtlas, look: Look, rng: np.random.Generator) -> Painter:
    """Return the painted atlas: bare skin with lips, brows, lashes, beard and whatever else a face carries."""
    painter = Painter(atlas, look, rng)
    _complexion(painter)
    _ageing(painter)
    _marks(painter)
    _lips(painter)
    _beard(painter)
    _brows(painter)
    _eyes(painter)
    return painter


def _complexion(p: Painter) -> None:
    rng = p.rng
    uneven = 0.02 * solid_noise(rng, p.atlas.position, 9.0) + (0.012 + 0.015 * p.look.age) * p.patchy
    p.albedo *= (1 + uneven + 0.013 * rng.uniform(0.3, 1.6) * p.fine)[:, None]
    flush = rng.uniform(0.1, 0.6) * (1 - 0.5 * p.look.darkness)
    cheeks = p.blob(4.6, -0.4, 2.0, 2.0) + 0.8 * p.blob(0, 0.4, 1.3, 1.2) + 0.35 * p.blob(0, -6.3, 1.6, 1.0)
    p.tint(np.clip(cheeks * flush, 0, 1), (0.98, 0.84, 0.84))
    p.tint(smooth(7.2, 7.8, p.side) * ear(p.atlas.position), (0.98, 0.86, 0.85))
    under_chin = smooth(-6.8, -9.0, p.y) * smooth(8.5, 5.5, p.z) * smooth(-16, -11, p.y)
    p.tint(under_chin * rng.uniform(0, 0.8), (0.66, 0.60, 0.60))  # baked: there are no cast shadows
    p.tint(p.blob(0, 9.0, 5.0, 2.2) * rng.uniform(0, 0.6), (1.03, 1.02, 1.0))


def _ageing(p: Painter) -> None:
    rng, age = p.rng, p.look.age
    folds = smooth(0.34, 0.0, np.abs(p.side - (2.1 + 0.33 * (0.6 - p.y) + 0.1 * p.patchy)))
    folds *= smooth(-3.4, -2.2, p.y) * smooth(0.6, -0.4, p.y) * p.front
    p.tint(folds * rng.uniform(0.3, 1) * age, (0.80, 0.74, 0.72))
    forehead = np.sin(p.y * rng.uniform(4.0, 5.5) + 0.5 * np.cos(p.x * 0.5) + 0.35 * p.patchy)
    forehead = smooth(0.75, 1.0, forehead) * smooth(6.6, 7.4, p.y) * smooth(10.5, 9.0, p.y) * smooth(5, 3.5, p.side)
    p.tint(forehead * p.front * age * age * rng.uniform(0, 1), (0.86, 0.81, 0.79))
    sockets = p.rng.uniform(0.15, 0.55)
    for distance in p.atlas.eyes:
        p.tint(np.asarray(np.exp(-np.maximum(distance, 0) / 0.8) * p.front * sockets, np.float32), (0.74, 0.68, 0.70))
    bags = p.blob(3.1, 1.9, 1.3, 0.5) * (0.2 + 0.8 * age) * rng.uniform(0, 1)
    p.tint(bags, (0.85, 0.80, 0.84))


def _marks(p: Painter) -> None:
    rng = p.rng
    if rng.random() < 0.25 * (1.3 - p.look.darkness):
        freckles = smooth(1.2, 2.2, image_noise(rng, p.atlas.nearest.shape, 1.4).ravel()[p.atlas.texels])
        p.tint(freckles * p.blob(2.5, 0.8, 4.5, 2.6) * rng.uniform(0.3, 0.8), (0.78, 0.64, 0.55))
    for _ in range(rng.integers(0, 4)):
        away = np.hypot(p.x - rng.uniform(-6, 6), p.y - rng.uniform(-7, 8))
        p.tint(smooth(rng.uniform(0.1, 0.22), 0.04, away) * p.front, (0.5, 0.42, 0.38))


def _lips(p: Painter) -> None:
    rng = p.rng
    colour = p.look.skin * (0.90, 0.68, 0.68) * rng.uniform(0.85, 1.08)
    if p.look.make_up and rng.random() < 0.7:
        red, share = rng.uniform(0.40, 0.78), rng.uniform(0.2, 0.55)
        colour = np.array([red, red * share, red * share * rng.uniform(0.9, 1.25)])
    amount = smooth(0.06, -0.16, p.atlas.lips) * smooth(5.5, 6.5, p.z) * p.front
    p.cover(amount * np.float32(rng.uniform(0.65, 1)), colour, 0.05)


def _beard(p: Painter) -> None:
    look, rng = p.look, p.rng
    if not look.beard:
        return
    moustache = smooth(-1.2, -2.0, p.y) * smooth(4.6, 3.0, p.side) * smooth(6, 7, p.z)
    chin = smooth(-2.8, -4.6, p.y)
    jaw = 4.3 + 0.5 * (p.y + 3)  # the beard's edge runs from the mouth up to the ear
    chin = chin + smooth(0, 1.2, p.side - jaw) * smooth(3.6, 1.2, p.y) * smooth(0.5, 2.5, p.z)
    amount = np.clip(np.maximum(moustache, chin), 0, 1) * smooth(-12, -8.5, p.y) * smooth(-0.05, 0.2, p.atlas.lips)
    amount *= smooth(0.2, 1.2, p.z)
    if look.goatee:
        amount = amount * smooth(3.8, 2.9, p.side)
    amount = np.clip(amount * look.beard * (0.85 + 0.12 * p.patchy) * (1 + rng.uniform(0.2, 0.6) * p.fine), 0, 1)
    p.cover(0.92 * amount, look.hair * 0.85, 0.15)


def _brows(p: Painter) -> None:
    look, rng = p.look, p.rng
    half_width, dense = rng.uniform(0.20, 0.50), rng.uniform(0.5, 0.95)
    colour = look.hair * (rng.uniform(0.5, 0.85) if look.hair.mean() < 0.5 else 0.6)
    for distance, place in zip(p.atlas.brows, p.atlas.brow_places, strict=True):
        width = half_width * np.interp(place, (0, 0.2, 0.7, 1), (0.85, 1.05, 0.85, 0.3))
        amount = smooth(1.15, 0.35, (distance + 0.06 * p.fine) / width) * smooth(3.2, 4.0, p.y) * p.front
        p.cover(np.clip(amount * dense * (1 + 0.3 * p.fine), 0, 1).astype(np.float32), colour, 0.08)


def _eyes(p: Painter) -> None:
    rng, lashes = p.rng, p.rng.uniform(0.35, 0.75) + 0.25 * p.look.make_up
    upper = 0.45 + 0.55 * smooth(3.2, 3.6, p.y)
    for distance in p.atlas.eyes:
        line = smooth(0.24, 0.04, np.abs(distance)) * p.front * lashes * upper
        p.cover(line, np.array([0.07, 0.05, 0.045]))
    if p.look.make_up and rng.random() < 0.5:
        shadow = rng.uniform(0.1, 0.55, 3)
        for distance in p.atlas.eyes:
            lid = np.exp(-np.maximum(distance, 0) / 0.5) * smooth(3.5, 3.9, p.y) * p.front * 0.5
            p.cover(np.asarray(lid, np.float32), shadow)
