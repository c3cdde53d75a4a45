package org.bilayer.avatar.core

/** How long a frame's stages take, as means that forget: the last second or so counts. Not for several threads. */
class Stages(private val nanoTime: () -> Long) {
    private val means = LinkedHashMap<String, Double>()
    private var since = 0L

    fun begin() {
        since = nanoTime()
    }

    /** The stage that ends here; the next one begins. */
    fun end(stage: String) {
        val now = nanoTime()
        val ms = (now - since) / 1e6
        val mean = means[stage]
        means[stage] = if (mean == null) ms else mean + (ms - mean) * WEIGHT
        since = now
    }

    /** A line for each stage, and the frames a second that their sum allows. */
    fun lines(): List<String> {
        val sum = means.values.sum()
        val each = means.map { (name, ms) -> String.format("%-10s %6.1f ms", name, ms) }
        return if (sum > 0) each + String.format("%-10s %6.1f fps", "together", 1000 / sum) else each
    }

    private companion object {
        const val WEIGHT = 0.05
    }
}
