package org.bilayer.avatar.core

import java.io.File
import java.io.InputStream
import java.security.MessageDigest

/** A file of the user's that cannot be used; the message is one line that names it. */
class InputException(message: String) : Exception(message)

/** Channels [start] until [stop] of [tensor], times [scale] plus [offset]. */
class Channels(val tensor: String, val start: Int, val stop: Int, val scale: Float, val offset: Float) {
    fun of(tensors: Map<String, FloatArray>): FloatArray =
        tensors[tensor] ?: throw InputException("$tensor: the network gave ${tensors.keys}")

    /** How many channels [values] has, of [pixels] numbers each; those of this are among them. */
    fun countIn(values: FloatArray, pixels: Int): Int {
        val count = values.size / pixels
        if (values.size % pixels != 0 || count < stop) {
            throw InputException("$tensor: expected $stop planes of $pixels numbers, found ${values.size}")
        }
        return count
    }
}

/** A file of a bundle; [tool] made it, as far as avatar.json tells. */
class BundledFile(val file: File, val bytes: Long, val sha256: String, val tool: String) {
    /** This, once it is seen to be the file that was exported. */
    fun checked(): BundledFile {
        if (file.length() != bytes) throw InputException("$file: expected $bytes bytes, found ${file.length()}")
        if (sha256(file) != sha256) throw InputException("$file: not the file that was exported; copy it again")
        return this
    }
}

/**
 * What of a bundle's avatar.json is needed to show the avatar on a phone (docs/bundle.md). Fields that are not, of this
 * or a later writer, are passed over.
 */
class Bundle(
    val name: String,
    val imageSize: Int, // side of the network's results
    val textureSize: Int,
    val frameSize: Int,
    val alignCorners: Boolean,
    val inputTensor: String,
    val inputWidth: Int,
    val harmonics: Int,
    val deltaUv: Channels,
    val lfRgb: Channels,
    val seg: Channels?, // null: all is foreground
    val onnx: BundledFile,
    val texture: BundledFile,
    val dlc: BundledFile?, // for SNPE
    val dlcInterleaved: Boolean, // its outputs: (1, S, S, C), else (1, C, S, S)
    val tflite: BundledFile?, // for LiteRT, interleaved
    val sourcePose: FloatArray, // (136)
    val gmacs: Double,
    val trained: Boolean,
    val lids: DrawnLids?, // null: the network moves them, if anything does
    val anchors: WarpAnchors? // null: the warp is the network's
) {
    companion object {
        private const val MAX_JSON = 1L shl 20
        private const val MAX_SIDE = 2048

        fun read(folder: File): Bundle {
            val json = folder.listFiles { file -> file.name.endsWith(".json") }
            if (json == null || json.size != 1) throw InputException("$folder: expected a bundle with one .json in it")
            if (json[0].length() > MAX_JSON) throw InputException("${json[0]}: expected a few kilobytes")
            try {
                return of(folder, Fields(readJson(json[0].readText()), ""))
            } catch (error: IllegalArgumentException) {
                throw InputException("${json[0]}: ${error.message}")
            }
        }

        private fun of(folder: File, all: Fields): Bundle {
            require(all.string("format") == "bilayer-avatar") { "format: expected bilayer-avatar; name an avatar's bundle" }
            require(all.int("version") == 1) { "version: expected 1; export the avatar again" }
            val imageSize = side("image_size", all.int("image_size"))
            val input = all.fields("input")
            val outputs = all.fields("outputs")
            val files = all.fields("files")
            val dlc = all.optional("dlc")
            val pose = all.fields("source").floats("pose")
            require(pose.size == Pose.WIDTH) { "source.pose: expected ${Pose.WIDTH} numbers, found ${pose.size}" }
            val harmonics = input.int("harmonics")
            val width = if (harmonics == 0) Pose.WIDTH else 2 * harmonics * Pose.WIDTH
            require(harmonics in 0..16 && input.int("width") == width) { "input.width: expected $width" }
            val textureSize = side("texture_size", all.int("texture_size", imageSize))
            val lids = all.optional("lids")
            val pieces = files.optional("lids")
            require((lids == null) == (pieces == null)) { "lids: expected with files.lids, or both left out" }
            val anchors = all.optional("anchors")?.let { WarpAnchors.of(it) }
            val deltaUv = channels(outputs.fields("delta_uv"), 2)
            require(anchors == null || deltaUv.scale != 0f) { "outputs.delta_uv.scale: expected another than 0, with anchors" }
            return Bundle(
                name = folder.name,
                imageSize = imageSize,
                textureSize = textureSize,
                frameSize = side("frame_size", all.int("frame_size", imageSize)),
                alignCorners = all.boolean("align_corners"),
                inputTensor = input.string("tensor"),
                inputWidth = width,
                harmonics = harmonics,
                deltaUv = deltaUv,
                lfRgb = channels(outputs.fields("lf_rgb"), 3),
                seg = outputs.optional("seg")?.let { channels(it, 1) },
                onnx = file(folder, files.fields("onnx"), ""),
                texture = file(folder, files.fields("texture"), "").checked(),
                dlc = files.optional("dlc")?.let { file(folder, it, dlc?.string("tool") ?: "") },
                dlcInterleaved = dlc?.string("layout") == "NHWC",
                tflite = files.optional("tflite")?.let { file(folder, it, "bilayer-export") },
                sourcePose = pose,
                gmacs = all.fields("graph").number("gmacs"),
                trained = all.fields("origin").boolean("trained"),
                lids = lids?.let { DrawnLids.of(it, file(folder, pieces!!, "").checked(), textureSize) },
                anchors = anchors
            )
        }

        private fun side(name: String, found: Int): Int {
            require(found in 1..MAX_SIDE) { "$name: expected 1 to $MAX_SIDE, found $found" }
            return found
        }

        private fun channels(of: Fields, count: Int): Channels {
            val start = of.int("start")
            require(start in 0..4096 && of.int("stop") == start + count) { "${of.where}stop: expected start + $count" }
            val scale = of.number("scale").toFloat()
            return Channels(of.string("tensor"), start, start + count, scale, of.number("offset").toFloat())
        }

        private fun file(folder: File, of: Fields, tool: String): BundledFile {
            val name = of.string("name")
            require('/' !in name && name != "..") { "${of.where}name: expected a file beside avatar.json" }
            return BundledFile(File(folder, name), of.number("bytes").toLong(), of.string("sha256"), tool)
        }
    }
}

fun sha256(file: File): String = file.inputStream().use(::sha256)

fun sha256(content: InputStream): String {
    val digest = MessageDigest.getInstance("SHA-256")
    content.let { stream ->
        val buffer = ByteArray(1 shl 16)
        while (true) {
            val count = stream.read(buffer)
            if (count < 0) break
            digest.update(buffer, 0, count)
        }
    }
    return digest.digest().joinToString("") { String.format("%02x", it) }
}

/** The texture, packed for the sampler: (T + 3, T + 3, 4), floats in the order of the file. */
fun readTexture(bundle: Bundle): FloatArray {
    val side = bundle.textureSize + 3
    return readTensors(bundle.texture.file, mapOf("texture" to listOf(side, side, 4))).getValue("texture")
}
