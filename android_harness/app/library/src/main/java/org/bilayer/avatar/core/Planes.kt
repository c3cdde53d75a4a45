package org.bilayer.avatar.core

/** The network's results for a frame as the sampler takes them: planar, and the same arrays for every frame. */
class Planes(private val bundle: Bundle, private val interleaved: Boolean) {
    private val pixels = bundle.imageSize * bundle.imageSize
    val deltaUv = FloatArray(2 * pixels)
    val lfRgb = FloatArray(3 * pixels)
    val mask: FloatArray? = if (bundle.seg == null) null else FloatArray(pixels) // times scale plus offset: the sampler's

    /** Takes what it needs out of [tensors] by name; scales warp and low frequencies. */
    fun fill(tensors: Map<String, FloatArray>) {
        copy(bundle.deltaUv, tensors, deltaUv, true)
        copy(bundle.lfRgb, tensors, lfRgb, true)
        if (bundle.seg != null && mask != null) copy(bundle.seg, tensors, mask, false)
    }

    private fun copy(from: Channels, tensors: Map<String, FloatArray>, to: FloatArray, scaled: Boolean) {
        val tensor = from.of(tensors)
        val count = from.countIn(tensor, pixels)
        val scale = if (scaled) from.scale else 1f
        val offset = if (scaled) from.offset else 0f
        val step = if (interleaved) count else 1
        for (channel in from.start until from.stop) {
            var at = if (interleaved) channel else channel * pixels
            val begin = (channel - from.start) * pixels
            for (pixel in begin until begin + pixels) {
                to[pixel] = tensor[at] * scale + offset
                at += step
            }
        }
    }
}
