package org.bilayer.avatar

import android.app.Application
import com.qualcomm.qti.snpe.FloatTensor
import com.qualcomm.qti.snpe.NeuralNetwork
import com.qualcomm.qti.snpe.SNPE
import java.io.IOException
import org.bilayer.avatar.core.Bundle
import org.bilayer.avatar.core.InputException
import org.bilayer.avatar.core.Network

/** The .dlc on Qualcomm's SNPE, GPU in half precision throughout as in the paper; no other runtime steps in unasked. */
class SnpeNetwork(application: Application, bundle: Bundle) : Network {
    override val mode = "gpu-fp16"
    override val title = "GPU_FLOAT16"
    override val program = "SNPE's Java API"
    override val version: String = SNPE.getRuntimeVersion(application)
    override val file = bundle.dlc?.checked() ?: throw InputException(
        "${bundle.name}: has no .dlc; export it with --target snpe-1.32 for SNPE 1.x, --target qairt for 2.x"
    )
    override val interleaved = bundle.dlcInterleaved
    override val initMs: Double
    private val inputTensor = bundle.inputTensor
    private val network: NeuralNetwork
    private val input: FloatTensor
    private val outputs = HashMap<String, FloatArray>()

    init {
        val begin = System.nanoTime()
        val names = listOfNotNull(bundle.deltaUv, bundle.lfRgb, bundle.seg).map { it.tensor }.distinct()
        network = try {
            SNPE.NeuralNetworkBuilder(application)
                .setRuntimeOrder(NeuralNetwork.Runtime.GPU_FLOAT16)
                .setCpuFallbackEnabled(false)
                .setPerformanceProfile(NeuralNetwork.PerformanceProfile.HIGH_PERFORMANCE) // as bilayer-device asks for
                .setOutputLayers(*names.toTypedArray())
                .setModel(file.file)
                .build()
        } catch (error: IOException) {
            throw InputException("${file.file}: ${error.message}")
        } catch (error: IllegalStateException) { // as SNPE's samples catch
            throw InputException("${file.file}: SNPE cannot run it on this GPU: ${error.message}")
        }
        input = network.createFloatTensor(1, bundle.inputWidth)
        initMs = (System.nanoTime() - begin) / 1e6
    }

    override fun run(pose: FloatArray): Map<String, FloatArray> {
        input.write(pose, 0, pose.size)
        val found = network.execute(mapOf(inputTensor to input))
        for ((name, tensor) in found) {
            val plain = name.substringBefore(':') // some versions number a layer's tensors
            val values = outputs.getOrPut(plain) { FloatArray(tensor.size) }
            tensor.read(values, 0, values.size)
            tensor.release()
        }
        return outputs
    }

    override fun close() {
        input.release()
        network.release()
    }
}
