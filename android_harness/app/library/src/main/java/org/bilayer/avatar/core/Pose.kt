package org.bilayer.avatar.core

/** Landmarks (x0, y0, x1, ...) of 68 points in pixels -> what the network takes; the published rules, in float32. */
object Pose {
    const val POINTS = 68
    const val WIDTH = 2 * POINTS

    /** In -1..1 across the published crop: twice the larger extent, raised by a sixth of it. Mode "absolute". */
    fun absolute(landmarks: FloatArray): FloatArray {
        val low = FloatArray(2) { axis -> extreme(landmarks, axis) { a, b -> Math.min(a, b) } }
        val high = FloatArray(2) { axis -> extreme(landmarks, axis) { a, b -> Math.max(a, b) } }
        val half = Math.max(high[0] - low[0], high[1] - low[1]).toInt()
        if (half < 1) throw InputException("landmarks: span less than a pixel")
        val x = Math.rint(((low[0] + high[0]) / 2).toDouble()).toInt()
        val y = Math.rint(((low[1] + high[1]) / 2).toDouble()).toInt() - half / 6
        val origin = floatArrayOf((x - half).toFloat(), (y - half).toFloat())
        val side = (2 * half).toFloat()
        return FloatArray(WIDTH) { ((landmarks[it] - origin[it % 2]) / side - 0.5f) * 2 }
    }

    /** As it is, or all sines, then all cosines, of each number times pi, 2 pi, ... */
    fun encode(pose: FloatArray, harmonics: Int): FloatArray {
        if (harmonics == 0) return pose
        val count = WIDTH * harmonics
        val encoded = FloatArray(2 * count)
        for (at in 0 until count) {
            val phase = pose[at / harmonics] * (Math.PI.toFloat() * (1 shl at % harmonics))
            encoded[at] = Math.sin(phase.toDouble()).toFloat()
            encoded[count + at] = Math.cos(phase.toDouble()).toFloat()
        }
        return encoded
    }

    private fun extreme(landmarks: FloatArray, axis: Int, choose: (Float, Float) -> Float): Float {
        var found = landmarks[axis]
        for (point in 1 until POINTS) found = choose(found, landmarks[2 * point + axis])
        return found
    }
}
