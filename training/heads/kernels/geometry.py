"""Blend shapes, normals and the camera, vertex by vertex."""

# mypy: ignore-errors
# Numba infers the types in here, when it compiles.

import math

from bilayer.training.heads.kernels.options import compiled


@compiled
def blend_shapes(base, shapes, indices, weights, out):
    """Write out (V, 3) = base (V, 3) + sum of weights (k,) * shapes (K, V, 3)[indices (k,)]."""
    count = base.shape[0]
    for i in range(count):
        out[i, 0] = base[i, 0]
        out[i, 1] = base[i, 1]
        out[i, 2] = base[i, 2]
    for k in range(indices.shape[0]):
        shape = shapes[indices[k]]
        weight = weights[k]
        for i in range(count):
            out[i, 0] += weight * shape[i, 0]
            out[i, 1] += weight * shape[i, 1]
            out[i, 2] += weight * shape[i, 2]


@compiled
def vertex_normals(vertices, triangles, out):
    """Write unit normals (V, 3), the triangles' own weighted by area; zero where no triangle is."""
    for i in range(out.shape[0]):
        out[i, 0] = out[i, 1] = out[i, 2] = 0.0
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for q in (a, b, c):
            out[q, 0] += nx
            out[q, 1] += ny
            out[q, 2] += nz
    for i in range(out.shape[0]):
        length = math.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2)
        if length > 0:
            out[i, 0] /= length
            out[i, 1] /= length
            out[i, 2] /= length


@compiled
def lift_shell(vertices, normals, indices, lift, out):
    """Write out (H, 3) = vertices[indices] + lift (H,) along their normals."""
    for i in range(indices.shape[0]):
        j = indices[i]
        for axis in range(3):
            out[i, axis] = vertices[j, axis] + lift[i] * normals[j, axis]


@compiled
def pose_points(points, normals, follow, rotation, pivot, offset, posed, posed_normals):
    """Turn about `pivot` and move by `offset` as far as each point follows the head (0: stays, 1: fully)."""
    for i in range(points.shape[0]):
        f = follow[i]
        x, y, z = points[i, 0] - pivot[0], points[i, 1] - pivot[1], points[i, 2] - pivot[2]
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        for axis in range(3):
            r0, r1, r2 = rotation[axis, 0], rotation[axis, 1], rotation[axis, 2]
            turned = r0 * x + r1 * y + r2 * z + pivot[axis] + offset[axis]
            posed[i, axis] = f * turned + (1 - f) * points[i, axis]
            posed_normals[i, axis] = f * (r0 * nx + r1 * ny + r2 * nz) + (1 - f) * normals[i, axis]


@compiled
def project(points, eye, focal, centre_x, centre_y, mid_x, mid_y, screen):
    """Write screen (M, 3): x right and y down in samples, and 1 / depth. The camera at `eye` looks along -z."""
    for i in range(points.shape[0]):
        inverse = 1.0 / (eye[2] - points[i, 2])
        screen[i, 0] = centre_x + focal * ((points[i, 0] - eye[0]) * inverse - mid_x)
        screen[i, 1] = centre_y + focal * ((eye[1] - points[i, 1]) * inverse - mid_y)
        screen[i, 2] = inverse
