package org.bilayer.avatar.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONArray
import org.json.JSONObject

/** A driver's landmarks, 136 numbers a frame, in pixels of the driver's picture. */
class Track(val frames: List<FloatArray>, val fps: Double) {
    /** At most [count] frames, evenly spread, the first among them: those that `bilayer-device` takes. */
    fun spread(count: Int): List<FloatArray> =
        if (count < frames.size) List(count) { frames[it * frames.size / count] } else frames

    companion object {
        private const val MAX_BYTES = 64L shl 20
        private const val DEFAULT_FPS = 25.0

        /** A .json or .npy file as docs/motion.md has them. */
        fun read(file: File): Track {
            if (file.length() > MAX_BYTES) throw InputException("$file: expected at most $MAX_BYTES bytes")
            try {
                val track = if (file.name.endsWith(".npy")) npy(file.readBytes()) else json(file.readText())
                require(track.frames.isNotEmpty()) { "no frames" }
                val numbers = track.frames.all { frame -> frame.all { !it.isNaN() && !it.isInfinite() } }
                require(numbers) { "expected finite numbers" }
                return track
            } catch (error: IllegalArgumentException) {
                throw InputException("$file: ${error.message}")
            }
        }

        private fun json(text: String): Track {
            val content = readJson(text)
            val fields = content as? JSONObject
            val frames = (if (fields == null) content else fields.opt("landmarks")) as? JSONArray
            requireNotNull(frames) { "landmarks: expected a list" }
            val fps = (fields?.opt("fps") as? Number)?.toDouble() ?: DEFAULT_FPS
            require(fps > 0 && fps <= 1000) { "fps: expected 0 to 1000, found $fps" }
            return Track(items(frames).map { frame(it) }, fps)
        }

        private fun frame(content: Any?): FloatArray {
            val pairs = (content as? JSONArray)?.let { items(it) } ?: emptyList()
            val numbers = pairs.flatMap { pair -> (pair as? JSONArray)?.let { items(it) } ?: emptyList() }.filterIsInstance<Number>()
            require(numbers.size == Pose.WIDTH) { "expected 68 (x, y) pairs a frame" }
            return FloatArray(Pose.WIDTH) { numbers[it].toFloat() }
        }

        private fun npy(bytes: ByteArray): Track {
            val magic = byteArrayOf(0x93.toByte()) + "NUMPY".toByteArray()
            require(bytes.size > 12 && bytes.copyOf(6).contentEquals(magic)) { "not a .npy file" }
            val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
            val wide = bytes[6] > 1
            val length = if (wide) buffer.getInt(8) else buffer.getShort(8).toInt() and 0xffff
            val begin = if (wide) 12 else 10
            require(length in 1..(bytes.size - begin)) { "a header that is too long" }
            val header = String(bytes, begin, length, Charsets.ISO_8859_1)
            val width = Regex("'descr': *'<f([48])'").find(header)?.groupValues?.get(1)?.toInt()
            val shape = Regex("'shape': *\\((?:(\\d+), *)?68, 2\\)").find(header)
            require(width != null && shape != null && "'fortran_order': False" in header) {
                "expected a (T, 68, 2) array of little-endian floats"
            }
            val count = shape.groupValues[1].toIntOrNull() ?: 1
            buffer.position(begin + length)
            require(buffer.remaining().toLong() == count.toLong() * Pose.WIDTH * width) { "ends too early, or too late" }
            val frames = List(count) {
                FloatArray(Pose.WIDTH) { if (width == 4) buffer.getFloat() else buffer.getDouble().toFloat() }
            }
            return Track(frames, DEFAULT_FPS)
        }
    }
}
