package org.bilayer.avatar.core

import java.nio.ByteBuffer

/** What draws a frame of the network's results. */
interface Sampler : AutoCloseable {
    /** Writes (F, F, 4) RGBA, premultiplied as Android's Bitmap wants it, or straight, into a direct buffer. */
    fun compose(planes: Planes, rgba: ByteBuffer, premultiplied: Boolean)

    /** Lays texels into the texture that it draws of. */
    fun lay(patch: Patch)
}

/** android_harness/native/sampler.hpp, by JNI. Closed once, used by one thread at a time. */
class NativeSampler(private val bundle: Bundle, texels: FloatArray) : Sampler {
    private var handle = create(texels, bundle.textureSize)

    override fun compose(planes: Planes, rgba: ByteBuffer, premultiplied: Boolean) {
        check(handle != 0L) { "closed" }
        val seg = bundle.seg
        val scale = seg?.scale ?: 1f
        val offset = seg?.offset ?: 0f
        compose(
            handle, planes.deltaUv, planes.lfRgb, planes.mask, bundle.imageSize, scale, offset, bundle.alignCorners,
            premultiplied, rgba, bundle.frameSize
        )
    }

    override fun lay(patch: Patch) {
        check(handle != 0L) { "closed" }
        lay(handle, patch.texels, patch.left, patch.top, patch.width, patch.height)
    }

    override fun close() {
        destroy(handle)
        handle = 0
    }

    private external fun create(texels: FloatArray, side: Int): Long
    private external fun compose(
        handle: Long, deltaUv: FloatArray, lfRgb: FloatArray, mask: FloatArray?, imageSize: Int, maskScale: Float,
        maskOffset: Float, alignCorners: Boolean, premultiplied: Boolean, rgba: ByteBuffer, frameSize: Int
    )
    private external fun lay(handle: Long, texels: FloatArray, left: Int, top: Int, width: Int, height: Int)
    private external fun destroy(handle: Long)

    companion object {
        const val LIBRARY = "bilayer_avatar_jni"

        init {
            System.loadLibrary(LIBRARY)
        }
    }
}
