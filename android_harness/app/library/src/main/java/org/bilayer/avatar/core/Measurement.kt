package org.bilayer.avatar.core

/** What computes the network: SNPE, LiteRT, ncnn, or what you write. Used by one thread at a time. */
interface Network : AutoCloseable {
    val mode: String // as in a result's row: gpu-fp16, ...
    val title: String // what its maker calls that
    val program: String // that runs it
    val version: String // of that; "" where it does not tell
    val file: BundledFile // that it runs
    val interleaved: Boolean // its tensors: (1, S, S, C), else (1, C, S, S)
    val initMs: Double // once, when it was made
    fun run(pose: FloatArray): Map<String, FloatArray> // encoded pose -> tensors by name
}

/** How to measure: the paper's protocol in one process, in rounds instead of processes. */
class Protocol(val executions: Int = 100, val warmUp: Int = 20, val rounds: Int = 3)

/** Of rounds' means, in ms. */
class Spread(val median: Double, val low: Double, val high: Double) {
    companion object {
        fun of(values: List<Double>): Spread {
            val sorted = values.sorted()
            val middle = (sorted[(sorted.size - 1) / 2] + sorted[sorted.size / 2]) / 2
            return Spread(middle, sorted.first(), sorted.last())
        }
    }
}

/** Of single frames, in ms; percentiles are values that occurred. */
class FrameTimes(values: List<Double>) {
    private val sorted = values.sorted()
    val min = sorted.first()
    val max = sorted.last()
    val mean = sorted.sum() / sorted.size
    val median = percentile(50)
    val p90 = percentile(90)
    val p99 = percentile(99)

    private fun percentile(percent: Int) = sorted[Math.max((percent * sorted.size + 99) / 100, 1) - 1]
}

/** Times network and sampler over some poses; [nanoTime] is the clock. */
class Measurement(
    private val network: Network,
    private val sampler: Sampler,
    private val bundle: Bundle,
    private val protocol: Protocol,
    private val nanoTime: () -> Long
) {
    lateinit var total: Spread // the whole execute, with its copies and changes of layout
        private set
    lateinit var frames: FrameTimes // change of layout and sampler
        private set

    fun run(poses: List<FloatArray>, said: (String) -> Unit) {
        val encoded = poses.map { Pose.encode(it, bundle.harmonics) }
        val planes = Planes(bundle, network.interleaved)
        val rgba = java.nio.ByteBuffer.allocateDirect(4 * bundle.frameSize * bundle.frameSize)
        val means = ArrayList<Double>()
        val sampled = ArrayList<Double>()
        for (round in 1..protocol.rounds) {
            said("round $round of ${protocol.rounds}")
            repeat(protocol.warmUp) { network.run(encoded[it % encoded.size]) }
            var spent = 0L
            repeat(protocol.executions) {
                val begin = nanoTime()
                val tensors = network.run(encoded[it % encoded.size])
                val ran = nanoTime()
                planes.fill(tensors)
                sampler.compose(planes, rgba, true)
                spent += ran - begin
                sampled.add((nanoTime() - ran) / 1e6)
            }
            means.add(spent / 1e6 / protocol.executions)
        }
        total = Spread.of(means)
        frames = FrameTimes(sampled)
    }
}
