package org.bilayer.avatar.core

import java.nio.ByteBuffer

/**
 * A surface, and the frames of an avatar drawn onto it by OpenGL ES 3.1: android_harness/native/gles_frame.hpp, by JNI. From
 * the network's tensors to the screen, and nothing back. Made, used and closed by one thread.
 *
 * [surface] is an android.view.Surface; null draws into memory of [side] x [side] pixels, which [read] gives. Frames are
 * in a square, as large as fits. [hardwareFilter]: the texture unit's own filter in place of four fetches (docs/sampler.md).
 *
 * @throws InputException the phone has no OpenGL ES 3.1 with buffers for fragment shaders
 */
class NativeScreen(
    private val bundle: Bundle,
    texels: FloatArray,
    private val interleaved: Boolean,
    surface: Any?,
    side: Int,
    hardwareFilter: Boolean = false
) : AutoCloseable {
    private val pixels = bundle.imageSize * bundle.imageSize
    private val parts = listOf(bundle.deltaUv, bundle.lfRgb, bundle.seg ?: bundle.deltaUv)
    private val affine = parts.flatMap { listOf(it.scale, it.offset) }.toFloatArray()
    private var handle = try {
        create(texels, bundle.textureSize, surface, side, hardwareFilter)
    } catch (error: IllegalStateException) {
        throw InputException("this GPU cannot draw: ${error.message}")
    }

    /** The frame of a network's [tensors], shown at once. */
    fun draw(tensors: Map<String, FloatArray>) {
        check(handle != 0L) { "closed" }
        val given = parts.map { it.of(tensors) }
        val places = IntArray(9)
        parts.forEachIndexed { number, part ->
            val count = part.countIn(given[number], pixels)
            places[3 * number] = if (interleaved) part.start else part.start * pixels
            places[3 * number + 1] = if (interleaved) 1 else pixels
            places[3 * number + 2] = if (interleaved) count else 1
        }
        draw(
            handle, given[0], given[1], given[2], places, affine, bundle.seg != null, bundle.imageSize, bundle.frameSize,
            bundle.alignCorners
        )
    }

    /** Lays texels into the texture that it draws of, from the next frame on. */
    fun lay(patch: Patch) {
        check(handle != 0L) { "closed" }
        lay(handle, patch.texels, patch.left, patch.top, patch.width, patch.height)
    }

    /** What was drawn, (side, side, 4) from the upper left, premultiplied; only where there is no surface. */
    fun read(rgba: ByteBuffer) = read(handle, rgba)

    override fun close() {
        destroy(handle)
        handle = 0
    }

    private external fun create(texels: FloatArray, textureSide: Int, surface: Any?, side: Int, hardware: Boolean): Long
    private external fun draw(
        handle: Long, deltaUv: FloatArray, lfRgb: FloatArray, seg: FloatArray, places: IntArray, affine: FloatArray,
        masked: Boolean, imageSize: Int, frameSize: Int, alignCorners: Boolean
    )
    private external fun lay(handle: Long, texels: FloatArray, left: Int, top: Int, width: Int, height: Int)
    private external fun read(handle: Long, rgba: ByteBuffer)
    private external fun destroy(handle: Long)

    private companion object {
        init {
            System.loadLibrary(NativeSampler.LIBRARY)
        }
    }
}
