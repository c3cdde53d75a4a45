package org.bilayer.avatar

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer
import org.bilayer.avatar.core.Bundle
import org.bilayer.avatar.core.InputException
import org.bilayer.avatar.core.Network
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.TensorFlowLite
import org.tensorflow.lite.gpu.GpuDelegate
import org.tensorflow.lite.gpu.GpuDelegateFactory

/** The .tflite on LiteRT: its GPU delegate in half precision, or with [gpu] false XNNPACK in float32. Of Maven, with no account. */
class LiteRtNetwork(bundle: Bundle, gpu: Boolean = true, threads: Int = 4) : Network {
    override val mode = if (gpu) "litert-gpu-fp16" else "litert-xnnpack"
    override val title = if (gpu) "GPU delegate, FP16" else "XNNPACK, $threads threads"
    override val program = "LiteRT's Java API"
    override val version: String = TensorFlowLite.runtimeVersion()
    override val file = bundle.tflite?.checked()
        ?: throw InputException("${bundle.name}: has no .tflite; export it again with --also tflite")
    override val interleaved = true
    override val initMs: Double
    private val delegate: GpuDelegate?
    private val network: Interpreter
    private val input: ByteBuffer
    private val results = LinkedHashMap<String, Pair<FloatBuffer, FloatArray>>() // where they are written, and as arrays
    private val buffers = HashMap<Int, Any>()

    init {
        val begin = System.nanoTime()
        val options = GpuDelegateFactory.Options()
            .setPrecisionLossAllowed(true)
            .setInferencePreference(GpuDelegateFactory.Options.INFERENCE_PREFERENCE_SUSTAINED_SPEED)
        delegate = if (gpu) GpuDelegate(options) else null
        network = try {
            val chosen = Interpreter.Options().setNumThreads(threads)
            if (delegate != null) chosen.addDelegate(delegate)
            Interpreter(file.file, chosen)
        } catch (error: RuntimeException) { // IllegalArgumentException and its like, of LiteRT's own
            delegate?.close()
            throw InputException("${file.file}: LiteRT cannot run it as $title: ${error.message}")
        }
        input = direct(bundle.inputWidth)
        for (number in 0 until network.outputTensorCount) {
            val tensor = network.getOutputTensor(number)
            val buffer = direct(tensor.numElements())
            buffers[number] = buffer
            results[tensor.name()] = Pair(buffer.asFloatBuffer(), FloatArray(tensor.numElements()))
        }
        initMs = (System.nanoTime() - begin) / 1e6
    }

    override fun run(pose: FloatArray): Map<String, FloatArray> {
        input.rewind()
        input.asFloatBuffer().put(pose)
        buffers.values.forEach { (it as ByteBuffer).rewind() }
        network.runForMultipleInputsOutputs(arrayOf<Any>(input), buffers)
        return results.mapValues { (_, result) ->
            result.first.rewind()
            result.second.also { result.first.get(it) }
        }
    }

    override fun close() {
        network.close()
        delegate?.close()
    }

    private fun direct(count: Int) = ByteBuffer.allocateDirect(4 * count).order(ByteOrder.nativeOrder())
}
