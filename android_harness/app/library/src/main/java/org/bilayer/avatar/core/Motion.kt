package org.bilayer.avatar.core

/** x + iy, a point or a similarity. */
class Complex(val x: Double, val y: Double) {
    operator fun plus(o: Complex) = Complex(x + o.x, y + o.y)
    operator fun minus(o: Complex) = Complex(x - o.x, y - o.y)
    operator fun times(o: Complex) = Complex(x * o.x - y * o.y, x * o.y + y * o.x)
    operator fun times(k: Double) = Complex(x * k, y * k)
    operator fun div(o: Complex): Complex {
        val size = o.x * o.x + o.y * o.y
        return Complex((x * o.x + y * o.y) / size, (y * o.x - x * o.y) / size)
    }
    val length: Double get() = Math.hypot(x, y)
    fun along(o: Complex) = x * o.x + y * o.y
}

/**
 * The source's landmarks, moved as the driver's have moved since the first frame: mode "relative" of docs/motion.md, whose
 * formulae and names these are. [sourcePose] has 136 numbers.
 */
class RelativeMotion(sourcePose: FloatArray) {
    private val source = points(sourcePose)
    private val place = minus(source, centre(source))
    private var transfer: Transfer? = null

    /** The next frame is the reference. */
    fun recentre() {
        transfer = null
    }

    /** Landmarks (136) in pixels -> the pose (136). */
    fun pose(landmarks: FloatArray): FloatArray {
        val driver = points(landmarks)
        val moved = (transfer ?: Transfer(driver).also { transfer = it }).apply(driver)
        return FloatArray(Pose.WIDTH) { (if (it % 2 == 0) moved[it / 2].x else moved[it / 2].y).toFloat() }
    }

    private inner class Transfer(driver: List<Complex>) {
        val referenceCentre = centre(driver)
        val reference = minus(driver, referenceCentre)
        val onto = similarity(minus(reference, mean(reference)), minus(source, mean(source)))
        val laid = reference.map { onto * it }
        val lidGains = lidGains(laid)
        val lips = Math.min(mouth(place).length / Math.max(mouth(laid).length, 1e-12), MAX_GAIN)
        val down = Complex(0.0, 1.0) * mouth(place) * (1 / Math.max(mouth(place).length, 1e-12))
        val leastGaps = gaps(place).map { Math.min(it, 0.0) }

        fun apply(driver: List<Complex>): List<Complex> {
            val centre = centre(driver)
            val frame = minus(driver, centre)
            val turned = similarity(RIGID.map { reference[it] }, RIGID.map { frame[it] })
            val head = if (turned.length > 1e-12) turned else Complex(1.0, 0.0)
            val moves = shaped(frame.indices.map { onto * (frame[it] / head - reference[it]) })
            val travel = (centre - referenceCentre) * onto.length
            return source.indices.map { source[it] + (head - Complex(1.0, 0.0)) * place[it] + head * moves[it] + travel }
        }

        private fun shaped(moves: List<Complex>): List<Complex> {
            val shaped = moves.toMutableList()
            for ((eye, corners) in EYES) {
                val carried = (moves[corners.first] + moves[corners.second]) * 0.5
                for (point in eye) shaped[point] = carried + lidGains[point] * (moves[point] - carried)
                shaped[corners.first] = moves[corners.first]
                shaped[corners.second] = moves[corners.second]
            }
            val carried = (moves[MOUTH_RIGHT] + moves[MOUTH_LEFT]) * 0.5
            for (point in MOUTH) shaped[point] = carried + (moves[point] - carried) * lips
            val gaps = gaps(place.indices.map { place[it] + shaped[it] })
            LIP_PAIRS.forEachIndexed { number, (upper, lower) ->
                val missing = Math.max(leastGaps[number] - gaps[number], 0.0) / 2 // lips do not cross
                shaped[upper] = shaped[upper] - down * missing
                shaped[lower] = shaped[lower] + down * missing
            }
            return shaped
        }

        private fun gaps(face: List<Complex>) = LIP_PAIRS.map { (upper, lower) -> (face[lower] - face[upper]).along(down) }

        private fun lidGains(laid: List<Complex>): List<Complex> {
            val gains = MutableList(Pose.POINTS) { Complex(1.0, 0.0) }
            LID_PAIRS.forEachIndexed { number, (upper, lower) ->
                val (right, left) = EYES[number / 2].second
                val driven = laid[lower] - laid[upper]
                if (driven.length > SHUT * (laid[left] - laid[right]).length) {
                    val ratio = (place[lower] - place[upper]) / driven
                    gains[upper] = ratio * Math.min(1.0, MAX_GAIN / Math.max(ratio.length, 1e-12))
                    gains[lower] = gains[upper]
                }
            }
            return gains
        }
    }

    private companion object {
        const val SHUT = 0.08 // eye widths
        const val MAX_GAIN = 4.0
        const val MOUTH_RIGHT = 48
        const val MOUTH_LEFT = 54
        val MOUTH = 48..67
        val RIGID = listOf(0, 1, 15, 16, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45)
        val EYES = listOf(36..41 to (36 to 39), 42..47 to (42 to 45))
        val LID_PAIRS = listOf(37 to 41, 38 to 40, 43 to 47, 44 to 46)
        val LIP_PAIRS = listOf(61 to 67, 62 to 66, 63 to 65)

        fun points(numbers: FloatArray) = List(Pose.POINTS) { Complex(numbers[2 * it].toDouble(), numbers[2 * it + 1].toDouble()) }
        fun minus(all: List<Complex>, one: Complex) = all.map { it - one }
        fun mean(all: List<Complex>) = all.fold(Complex(0.0, 0.0)) { a, b -> a + b } * (1.0 / all.size)
        fun centre(face: List<Complex>) = mean(RIGID.map { face[it] })
        fun mouth(face: List<Complex>) = face[MOUTH_LEFT] - face[MOUTH_RIGHT]

        fun similarity(points: List<Complex>, targets: List<Complex>): Complex {
            var along = 0.0
            var across = 0.0
            var size = 0.0
            for ((p, q) in points.zip(targets)) {
                along += p.along(q)
                across += p.x * q.y - p.y * q.x
                size += p.along(p)
            }
            return Complex(along / size, across / size)
        }
    }
}
