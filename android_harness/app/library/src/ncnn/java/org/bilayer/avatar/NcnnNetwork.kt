package org.bilayer.avatar

import java.io.File
import org.bilayer.avatar.core.Bundle
import org.bilayer.avatar.core.BundledFile
import org.bilayer.avatar.core.InputException
import org.bilayer.avatar.core.NativeSampler
import org.bilayer.avatar.core.Network
import org.bilayer.avatar.core.sha256

/**
 * The network on ncnn, on a Vulkan device in half precision, or with [gpu] false on the CPU in float32. Its two files are what
 * pnnx makes of the bundle's .onnx, beside it: avatar.ncnn.param and avatar.ncnn.bin.
 */
class NcnnNetwork(bundle: Bundle, gpu: Boolean = true) : Network {
    override val mode = if (gpu) "ncnn-vulkan-fp16" else "ncnn-cpu"
    override val title = if (gpu) "Vulkan, FP16" else "CPU, FP32"
    override val program = "ncnn"
    override val version: String
    override val file: BundledFile
    override val interleaved = false
    override val initMs: Double
    private val names = listOfNotNull(bundle.deltaUv, bundle.lfRgb, bundle.seg).map { it.tensor }.distinct()
    private var handle: Long

    init {
        System.loadLibrary(NativeSampler.LIBRARY)
        val begin = System.nanoTime()
        val stem = bundle.onnx.file.path.removeSuffix(".onnx")
        val (param, bin) = listOf("param", "bin").map { File("$stem.ncnn.$it") }
        for (one in listOf(param, bin)) {
            if (!one.isFile) throw InputException("$one: not there; run pnnx on the .onnx and copy what it makes")
        }
        file = BundledFile(bin, bin.length(), sha256(bin), "pnnx")
        handle = try {
            open(param.path, bin.path, gpu)
        } catch (error: IllegalStateException) {
            throw InputException("$param: ${error.message}")
        }
        version = ncnnVersion()
        initMs = (System.nanoTime() - begin) / 1e6
    }

    override fun run(pose: FloatArray): Map<String, FloatArray> {
        check(handle != 0L) { "closed" }
        return names.zip(run(handle, pose, names.size)).toMap()
    }

    override fun close() {
        release(handle)
        handle = 0
    }

    private external fun ncnnVersion(): String
    private external fun open(param: String, bin: String, gpu: Boolean): Long
    private external fun run(handle: Long, pose: FloatArray, count: Int): Array<FloatArray> // out0, out1, ...
    private external fun release(handle: Long)
}
