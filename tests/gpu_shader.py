"""Any entry of the frame shader on any of wgpu's adapters, for tests."""

import functools

import numpy as np
import pytest

from bilayer.runtime.sampler.gpu import WORKGROUP, shader_source, upload_texture

BACKENDS = ("Vulkan", "OpenGL")  # here Mesa's lavapipe and llvmpipe


@functools.cache
def adapter(backend):
    """The first of a kind; skips where there is none."""
    wgpu = pytest.importorskip("wgpu", reason="wgpu is not installed: pip install 'bilayer[gpu]'")
    for found in wgpu.gpu.enumerate_adapters_sync():
        if found.info["backend_type"] == backend:
            return found
    pytest.skip(f"no {backend} driver (Debian: mesa-vulkan-drivers libvulkan1, libegl1 libgles2)")


@functools.cache
def device(backend):
    return adapter(backend).request_device_sync()


@functools.cache
def pipeline(backend, entry):
    module = device(backend).create_shader_module(code=shader_source())
    if entry.startswith("compose"):
        return device(backend).create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": entry})
    return device(backend).create_render_pipeline(
        layout="auto",
        vertex={"module": module, "entry_point": "corner"},
        fragment={"module": module, "entry_point": entry, "targets": [{"format": "rgba8unorm"}]},
        primitive={"topology": "triangle-list"},
    )


def run(backend, entry, settings, arrays, packed):
    """The frame (height, width, 4) that an entry draws.

    `arrays`: delta_uv, lf_rgb and seg as they lie in memory; `packed` the texture (H + 3, W + 3, 4).
    """
    import wgpu

    own, (height, width), drawn = device(backend), settings.frame, not entry.startswith("compose")
    storage = wgpu.BufferUsage.STORAGE
    buffers = [own.create_buffer_with_data(data=np.ascontiguousarray(a), usage=storage) for a in arrays]
    result = own.create_buffer(size=4 * height * width, usage=storage | wgpu.BufferUsage.COPY_SRC)
    uniform = own.create_buffer_with_data(data=settings.pack(), usage=wgpu.BufferUsage.UNIFORM)
    resources = {number: {"buffer": buffer} for number, buffer in enumerate([result, *buffers, uniform])}
    if drawn:
        del resources[0]
    if entry.endswith("buffer"):
        resources[7] = {"buffer": own.create_buffer_with_data(data=packed, usage=storage)}
    else:
        resources[5] = upload_texture(own, packed, "hardware" if "filtered" in entry else "fetch").create_view()
    if "filtered" in entry:
        resources[6] = own.create_sampler(mag_filter="linear", min_filter="linear")
    entries = [{"binding": number, "resource": resource} for number, resource in resources.items()]
    group = own.create_bind_group(layout=pipeline(backend, entry).get_bind_group_layout(0), entries=entries)
    encoder = own.create_command_encoder()
    target = None
    if drawn:
        usage = wgpu.TextureUsage.RENDER_ATTACHMENT | wgpu.TextureUsage.COPY_SRC
        target = own.create_texture(size=(width, height, 1), format="rgba8unorm", usage=usage)
        attachment = {"view": target.create_view(), "load_op": "clear", "store_op": "store"}
        work = encoder.begin_render_pass(color_attachments=[attachment])
    else:
        work = encoder.begin_compute_pass()
    work.set_pipeline(pipeline(backend, entry))
    work.set_bind_group(0, group)
    if drawn:
        work.draw(3)
    else:
        work.dispatch_workgroups(-(-width // WORKGROUP), -(-height // WORKGROUP))
    work.end()
    own.queue.submit([encoder.finish()])
    if drawn:
        layout = {"offset": 0, "bytes_per_row": 4 * width, "rows_per_image": height}
        found = own.queue.read_texture({"texture": target}, layout, (width, height, 1))
    else:
        found = own.queue.read_buffer(result)
    return np.frombuffer(found, np.uint8).reshape(height, width, 4)
