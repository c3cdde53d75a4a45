"""The colour of every sample: skin, hair, eyes, mouth and clothes in the scene's light, resolved to pixels."""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

import math

import numpy as np

from bilayer.training.heads.kernels.options import compiled, inlined_fast
from bilayer.training.heads.kernels.weights import corner_weights

# How a triangle is shaded. SKIN and HAIR read the texture atlas; the inside of the mouth, cloth and strands interpolate
# vertex colours.
SKIN, HAIR, EYE, MOUTH_INSIDE, CLOTH, STRANDS = 0, 1, 2, 3, 4, 5
FLAT = 0.4  # cm; a pixel whose samples are of one kind and lie this close in depth is shaded at every other sample
COORD_SPREAD = 0.02  # of -1..1: samples of one pixel that lie further apart belong to different surface patches


@inlined_fast
def canonical(x, y, z):
    """Return the neutral generic head's texture coordinate at a point, in -1..1: (sin(azimuth / 2), -(y + 3) / 18)."""
    depth = z + 0.5
    radius = math.sqrt(x * x + depth * depth)
    u = 0.0
    if radius > 0:
        u = math.sqrt(max(0.5 - 0.5 * depth / radius, 0.0))
        if x < 0:
            u = -u
    v = -(y + 3.0) / 18.0
    return min(max(u, -1.0), 1.0), min(max(v, -1.0), 1.0)


@inlined_fast
def _smooth(low, high, value):
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@inlined_fast
def _lit_sample(t, x, y, screen, triangles, corner_uv, kinds, normals, points, colours, occlusion, rest, mouth_light,
                texture, eyes, eye, head_up, lights, light_colours, ambient, colour, coord):  # fmt: skip
    """Shade one sample: linear RGB into colour (3,); canonical coordinate into coord (2,). True if it has one."""
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    l1, l2 = corner_weights(a, b, c, x, y, screen)
    w0, w1, w2 = (1 - l1 - l2) * screen[a, 2], l1 * screen[b, 2], l2 * screen[c, 2]
    total = w0 + w1 + w2
    w0, w1, w2 = w0 / total, w1 / total, w2 / total  # perspective-correct weights

    nx = w0 * normals[a, 0] + w1 * normals[b, 0] + w2 * normals[c, 0]
    ny = w0 * normals[a, 1] + w1 * normals[b, 1] + w2 * normals[c, 1]
    nz = w0 * normals[a, 2] + w1 * normals[b, 2] + w2 * normals[c, 2]
    length = 1.0 / (math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
    nx, ny, nz = nx * length, ny * length, nz * length
    vx = eye[0] - (w0 * points[a, 0] + w1 * points[b, 0] + w2 * points[c, 0])
    vy = eye[1] - (w0 * points[a, 1] + w1 * points[b, 1] + w2 * points[c, 1])
    vz = eye[2] - (w0 * points[a, 2] + w1 * points[b, 2] + w2 * points[c, 2])
    length = 1.0 / math.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * length, vy * length, vz * length
    facing = nx * vx + ny * vy + nz * vz
    if facing < 0:  # the back of a sheet of hair
        nx, ny, nz, facing = -nx, -ny, -nz, -facing
    shade = w0 * occlusion[a] + w1 * occlusion[b] + w2 * occlusion[c]
    rx = w0 * rest[a, 0] + w1 * rest[b, 0] + w2 * rest[c, 0]
    ry = w0 * rest[a, 1] + w1 * rest[b, 1] + w2 * rest[c, 1]
    rz = w0 * rest[a, 2] + w1 * rest[b, 2] + w2 * rest[c, 2]

    kind = kinds[t]
    gloss, shine, wrap_red, wrap_blue, reached = 0.0, 0, 0.2, 0.2, 1.0
    if kind <= HAIR:
        u = w0 * corner_uv[t, 0, 0] + w1 * corner_uv[t, 1, 0] + w2 * corner_uv[t, 2, 0]
        v = w0 * corner_uv[t, 0, 1] + w1 * corner_uv[t, 1, 1] + w2 * corner_uv[t, 2, 1]
        u = min(max(u - 0.5, 0.0), texture.shape[1] - 1.001)
        v = min(max(v - 0.5, 0.0), texture.shape[0] - 1.001)
        iu, iv = int(u), int(v)
        fu, fv = u - iu, v - iv
        t00, t10, t01, t11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
        row, below = texture[iv], texture[iv + 1]
        red = t00 * row[iu, 0] + t10 * row[iu + 1, 0] + t01 * below[iu, 0] + t11 * below[iu + 1, 0]
        green = t00 * row[iu, 1] + t10 * row[iu + 1, 1] + t01 * below[iu, 1] + t11 * below[iu + 1, 1]
        blue = t00 * row[iu, 2] + t10 * row[iu + 1, 2] + t01 * below[iu, 2] + t11 * below[iu + 1, 2]
        if kind == SKIN:  # light bleeds through skin, red light furthest
            gloss, shine, wrap_red, wrap_blue = 1.0, 1, 0.40, 0.18
    elif kind == EYE:
        side = 0 if rx > 0 else 1
        distance = math.sqrt((rx - eyes[side, 0]) ** 2 + (ry - eyes[side, 1]) ** 2)
        behind = rz < eyes[side, 2]
        pupil = 1.0 - _smooth(eyes[2, 0] - 0.05, eyes[2, 0] + 0.05, distance)
        iris = 0.0 if behind else 1.0 - _smooth(eyes[2, 1] - 0.06, eyes[2, 1] + 0.05, distance)
        limbus = 1.0 - 0.6 * _smooth(eyes[2, 1] - 0.2, eyes[2, 1], distance)
        ring = 0.85 + 0.3 * (1.0 - _smooth(eyes[2, 0], eyes[2, 0] + 0.2, distance))
        inside = limbus * ring * (1 - pupil)
        red = iris * (eyes[3, 0] * inside + 0.004 * pupil) + (1 - iris) * eyes[4, 0]
        green = iris * (eyes[3, 1] * inside + 0.004 * pupil) + (1 - iris) * eyes[4, 1]
        blue = iris * (eyes[3, 2] * inside + 0.004 * pupil) + (1 - iris) * eyes[4, 2]
        lid = _smooth(eyes[side, 1] - 0.05, eyes[side, 1] + 0.45, ry)  # the upper lid's shadow
        corner = _smooth(0.7, 1.3, abs(rx - eyes[side, 0]))
        shade = (0.1 + 0.8 * shade) * (1.0 - 0.55 * lid) * (1.0 - 0.35 * corner)
        green, blue = green * (1 - 0.15 * corner), blue * (1 - 0.18 * corner)
        reached = 1.0 - 0.4 * lid
        gloss, shine = 3.0, 2
    else:
        red = w0 * colours[a, 0] + w1 * colours[b, 0] + w2 * colours[c, 0]
        green = w0 * colours[a, 1] + w1 * colours[b, 1] + w2 * colours[c, 1]
        blue = w0 * colours[a, 2] + w1 * colours[b, 2] + w2 * colours[c, 2]
        if kind == MOUTH_INSIDE:
            gloss, shine = 0.5, 1
            shade *= mouth_light
            reached = mouth_light

    above = 0.5 + 0.5 * ny  # a hemisphere of ambient light, brighter above
    sky = (0.55 + 0.45 * above) * shade
    lit_red, lit_green, lit_blue = ambient[0] * sky, ambient[1] * sky, ambient[2] * sky
    highlight = 0.0
    tangent = head_up[0] * nx + head_up[1] * ny + head_up[2] * nz
    tx, ty, tz = head_up[0] - tangent * nx, head_up[1] - tangent * ny, head_up[2] - tangent * nz
    length = 1.0 / (math.sqrt(tx * tx + ty * ty + tz * tz) + 1e-6)
    for k in range(lights.shape[0]):
        lx, ly, lz = lights[k, 0], lights[k, 1], lights[k, 2]
        cosine = nx * lx + ny * ly + nz * lz
        reach = (0.3 + 0.7 * shade) * reached
        strength = max(cosine + wrap_red, 0.0) / (1 + wrap_red) * reach
        weak = max(cosine + wrap_blue, 0.0) / (1 + wrap_blue) * reach
        lit_red += strength * light_colours[k, 0]
        lit_green += 0.5 * (strength + weak) * light_colours[k, 1]
        lit_blue += weak * light_colours[k, 2]
        hx, hy, hz = lx + vx, ly + vy, lz + vz
        half = 1.0 / (math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9)
        if kind in (HAIR, STRANDS):  # Kajiya and Kay (1989): light runs along the strands
            along = (tx * hx + ty * hy + tz * hz) * length * half
            gleam = max(1.0 - along * along, 0.0)
            gleam = gleam * gleam
            gleam = gleam * gleam
            gleam = gleam * gleam
            gleam = gleam * gleam
            gleam = gleam * gleam  # 32
            highlight += gleam * max(cosine + 0.1, 0.0) * shade * light_colours[k, 1]
        elif shine > 0 and cosine > 0:
            lobe = max((nx * hx + ny * hy + nz * hz) * half, 0.0)
            lobe = lobe * lobe
            lobe = lobe * lobe
            lobe = lobe * lobe  # 8
            broad = lobe * lobe  # 16
            narrow = broad * broad * broad  # 48
            if shine == 2:
                narrow = narrow * narrow
                highlight += gloss * narrow * narrow * light_colours[k, 1] * shade
            else:
                highlight += gloss * (0.05 * broad + 0.05 * narrow) * light_colours[k, 1] * shade * eyes[2, 2]
    if kind == SKIN:
        grazing = 1.0 - facing
        grazing = grazing * grazing
        highlight += 0.04 * grazing * grazing * sky * ambient[1]
    if kind in (HAIR, STRANDS):
        lit_red, lit_green, lit_blue = lit_red + highlight, lit_green + highlight, lit_blue + highlight
        highlight *= 0.02
    colour[0] = red * lit_red + highlight
    colour[1] = green * lit_green + highlight
    colour[2] = blue * lit_blue + highlight
    coord[0], coord[1] = canonical(rx, ry, rz)
    return kind != MOUTH_INSIDE


@compiled
def shade(owner, depth, supersampling, screen, triangles, corner_uv, kinds, normals, points, colours, occlusion, rest,
          mouth_light, texture, eyes, eye, head_up, lights, light_colours, ambient, background, exposure, tone,
          image, mask, coords):  # fmt: skip
    """Shade every owned sample and resolve supersampling^2 of them to each pixel.

    image (S, S, 3) through the tone curve, mask (S, S) the covered share in 0..255, coords (S, S, 2) the mean over
    the largest group of samples from one surface patch, NaN where no sample has a coordinate.
    """
    samples = supersampling * supersampling
    colour = np.empty(3, np.float32)
    found = np.empty((samples, 2), np.float32)
    top = tone.shape[0] - 1
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            red, green, blue = 0.0, 0.0, 0.0
            covered, shaded, count = 0, 0, 0
            kind, flat, nearest, furthest = -1, True, np.float32(0), np.float32(1)
            for sy in range(y * supersampling, (y + 1) * supersampling):
                for sx in range(x * supersampling, (x + 1) * supersampling):
                    t = owner[sy, sx]
                    if t < 0:
                        continue
                    covered += 1
                    nearest, furthest = max(nearest, depth[sy, sx]), min(furthest, depth[sy, sx])
                    if kind < 0:
                        kind = kinds[t]
                    elif kind != kinds[t]:
                        flat = False
            flat = flat and nearest - furthest < FLAT * nearest * furthest and covered == samples and samples > 1
            for sy in range(y * supersampling, (y + 1) * supersampling):
                for sx in range(x * supersampling, (x + 1) * supersampling):
                    t = owner[sy, sx]
                    if t < 0 or (flat and (sx + sy) & 1):
                        continue
                    shaded += 1
                    has_coord = _lit_sample(
                        t, sx, sy, screen, triangles, corner_uv, kinds, normals, points, colours, occlusion, rest,
                        mouth_light, texture, eyes, eye, head_up, lights, light_colours, ambient, colour, found[count],
                    )  # fmt: skip
                    red += colour[0]
                    green += colour[1]
                    blue += colour[2]
                    if has_coord:
                        count += 1
            front, bare = covered / max(shaded, 1) / samples, (samples - covered) / samples
            red = front * red + bare * background[y, x, 0]
            green = front * green + bare * background[y, x, 1]
            blue = front * blue + bare * background[y, x, 2]
            image[y, x, 0] = tone[min(int(red * exposure * top), top)]
            image[y, x, 1] = tone[min(int(green * exposure * top), top)]
            image[y, x, 2] = tone[min(int(blue * exposure * top), top)]
            mask[y, x] = (covered * 255 + samples // 2) // samples
            if count == 0:
                coords[y, x, 0] = coords[y, x, 1] = np.nan
                continue
            best_u, best_v, best = found[0, 0], found[0, 1], 0
            for i in range(count):
                sum_u, sum_v, near = 0.0, 0.0, 0
                for j in range(count):
                    du, dv = found[j, 0] - found[i, 0], found[j, 1] - found[i, 1]
                    if abs(du) < COORD_SPREAD and abs(dv) < COORD_SPREAD:
                        sum_u += found[j, 0]
                        sum_v += found[j, 1]
                        near += 1
                if near > best:
                    best_u, best_v, best = sum_u / near, sum_v / near, near
            coords[y, x, 0] = best_u
            coords[y, x, 1] = best_v
