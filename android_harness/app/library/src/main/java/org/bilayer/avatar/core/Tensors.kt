package org.bilayer.avatar.core

import java.io.DataInputStream
import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * Tensors of a .safetensors [file]: those that [shapes] names, which are to be there in float32, finite and with nothing
 * between them; each row by row.
 *
 * @throws InputException it has others
 */
fun readTensors(file: File, shapes: Map<String, List<Int>>): Map<String, FloatArray> = try {
    DataInputStream(file.inputStream().buffered()).use { stream ->
        val length = java.lang.Long.reverseBytes(stream.readLong())
        if (length !in 2..65536) throw InputException("$file: not a .safetensors file")
        val header = Fields(readJson(String(ByteArray(length.toInt()).also(stream::readFully), Charsets.UTF_8)), "")
        val sizes = shapes.mapValues { (_, shape) -> shape.fold(4L) { size, side -> size * side } } // bytes
        require(file.length() == 8 + length + sizes.values.sum()) { "expected ${sizes.values.sum()} bytes of $shapes" }
        val offsets = shapes.mapValues { (name, expected) ->
            val stored = header.fields(name)
            val shape = stored.floats("shape").map { it.toInt() }
            require(stored.string("dtype") == "F32" && shape == expected) {
                "$name: expected F32 $expected, found ${stored.string("dtype")} $shape"
            }
            stored.floats("data_offsets").map { it.toLong() }
        }
        var begin = 0L
        shapes.keys.sortedBy { offsets.getValue(it).firstOrNull() }.associateWith { name ->
            val size = sizes.getValue(name)
            require(offsets.getValue(name) == listOf(begin, begin + size)) { "$name: expected its data behind the others'" }
            begin += size
            val bytes = ByteArray(size.toInt()).also(stream::readFully)
            val values = FloatArray(bytes.size / 4)
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values)
            require(values.all { !it.isNaN() && !it.isInfinite() }) { "$name: expected finite numbers" }
            values
        }
    }
} catch (error: IOException) {
    throw InputException("$file: ends too early; export the avatar again")
} catch (error: IllegalArgumentException) {
    throw InputException("$file: ${error.message}; export the avatar again")
}
