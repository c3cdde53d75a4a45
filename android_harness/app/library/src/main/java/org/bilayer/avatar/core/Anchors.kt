package org.bilayer.avatar.core

private const val GRID = 32 // points a side at which the field is taken: runtime/anchors/mover.py

/** Where one of the face's landmarks lies in the texture, -1..1 across it; the larger its [ridge], the less it moves. */
class Anchor(val landmark: Int, val x: Double, val y: Double, val ridge: Double)

/** How the warp is moved so that the landmarks come to lie where the pose has them (docs/bundle.md, "The anchors"). */
class WarpAnchors(val reach: Double, val limit: Double, val points: List<Anchor>) {
    companion object {
        private const val END = 4.0

        fun of(all: Fields): WarpAnchors {
            val points = all.list("points")
            require(points.size in 1..Pose.POINTS) { "anchors.points: expected 1 to ${Pose.POINTS}, found ${points.size}" }
            return WarpAnchors(
                reach = number(all, "reach", "0.01 to 2") { it in 0.01..2.0 },
                limit = number(all, "limit", "more than 0, at most 2") { it > 0 && it <= 2 },
                points = points.map { Anchor(landmark(it), place(it, "x"), place(it, "y"), ridge(it)) }
            )
        }

        private fun landmark(of: Fields): Int {
            val found = of.int("landmark")
            require(found in 0 until Pose.POINTS) { "${of.where}landmark: expected 0 to ${Pose.POINTS - 1}, found $found" }
            return found
        }

        private fun place(of: Fields, name: String) = number(of, name, "between -$END and $END") { it > -END && it < END }

        private fun ridge(of: Fields) = number(of, "ridge", "0.001 to 1000") { it in 0.001..1000.0 }

        private fun number(of: Fields, name: String, expected: String, good: (Double) -> Boolean): Double {
            val found = of.number(name)
            require(good(found)) { "${of.where}$name: expected $expected, found $found" }
            return found
        }
    }
}

/** Moves the warps of a bundle's poses by its anchors, as runtime/anchors/mover.py does. The bundle has some. */
class WarpMover(private val bundle: Bundle, private val interleaved: Boolean) {
    private val anchors = bundle.anchors!!
    private val warp = bundle.deltaUv
    private val size = bundle.imageSize
    private val count = anchors.points.size
    private val taps = Taps(GRID, size)
    private val places = List(2) { DoubleArray(count) } // x, y of each landmark in the pose
    private val weights = List(2) { DoubleArray(count) } // what is missing there, then what of it is spread
    private val kernel = DoubleArray(count * count)
    private val shares = List(2) { DoubleArray(GRID * count) } // of each landmark in the grid's columns, rows
    private val line = FloatArray(GRID)
    private val lines = FloatArray(GRID * size) // the field of an axis, resized along its rows
    private var moved = FloatArray(0)

    /**
     * The [tensors] of a pose (136) with the warp moved. They stay as they are: that of the warp is another array, which
     * the next call writes over. What is not finite moves nothing.
     */
    fun move(tensors: Map<String, FloatArray>, pose: FloatArray): Map<String, FloatArray> {
        val tensor = warp.of(tensors)
        val channels = warp.countIn(tensor, size * size)
        if (moved.size != tensor.size) moved = FloatArray(tensor.size)
        tensor.copyInto(moved)
        findMissing(tensor, channels, pose)
        solve()
        for (axis in 0..1) add(axis, channels)
        return tensors + (warp.tensor to moved)
    }

    private fun findMissing(tensor: FloatArray, channels: Int, pose: FloatArray) {
        anchors.points.forEachIndexed { number, point ->
            // Landmarks are counted by pixels' numbers, the warp's own coordinates by their centres: half a pixel apart
            val x = pose[2 * point.landmark] + 1.0 / size
            val y = pose[2 * point.landmark + 1] + 1.0 / size
            val across = point.x - lookUp(tensor, channels, 0, x, y)
            val down = point.y - lookUp(tensor, channels, 1, x, y)
            val length = Math.hypot(across, down)
            val share = anchors.limit / Math.max(length, anchors.limit)
            val finite = !length.isNaN() && !length.isInfinite()
            places[0][number] = x
            places[1][number] = y
            weights[0][number] = if (finite) across * share else 0.0
            weights[1][number] = if (finite) down * share else 0.0
        }
    }

    /** Where in the texture the warp looks at a place of the frame, along an axis. */
    private fun lookUp(tensor: FloatArray, channels: Int, axis: Int, x: Double, y: Double): Double {
        fun at(column: Int, row: Int) = // in float32, as Planes and the shader have it
            (tensor[index(axis, row * size + column, channels)] * warp.scale + warp.offset).toDouble()

        val column = held(x)
        val row = held(y)
        val left = Math.min(column.toInt(), Math.max(size - 2, 0))
        val top = Math.min(row.toInt(), Math.max(size - 2, 0))
        val right = Math.min(left + 1, size - 1)
        val bottom = Math.min(top + 1, size - 1)
        val upper = at(left, top) + (column - left) * (at(right, top) - at(left, top))
        val lower = at(left, bottom) + (column - left) * (at(right, bottom) - at(left, bottom))
        val own = if (axis == 0) column else row // the identity's, held at the border as the offsets are
        return (2 * own + 1) / size - 1 + upper + (row - top) * (lower - upper)
    }

    private fun held(place: Double) = (((place + 1) * size - 1) / 2).coerceIn(0.0, size - 1.0)

    private fun index(axis: Int, pixel: Int, channels: Int) =
        if (interleaved) pixel * channels + warp.start + axis else (warp.start + axis) * size * size + pixel

    /** Nothing where a place is not finite. */
    private fun gaussian(square: Double): Double {
        val found = Math.exp(-0.5 / (anchors.reach * anchors.reach) * square)
        return if (found.isNaN()) 0.0 else found
    }

    /** Turns what is missing into the field's weights, by Cholesky: the ridges make the kernel positive definite. */
    private fun solve() {
        val (x, y) = places
        for (row in 0 until count) {
            for (column in 0..row) {
                val across = x[row] - x[column]
                val down = y[row] - y[column]
                var sum = gaussian(across * across + down * down)
                if (row == column) sum += anchors.points[row].ridge
                for (k in 0 until column) sum -= kernel[row * count + k] * kernel[column * count + k]
                kernel[row * count + column] = if (row == column) Math.sqrt(sum) else sum / kernel[column * count + column]
            }
        }
        for (weight in weights) {
            for (row in 0 until count) {
                for (k in 0 until row) weight[row] -= kernel[row * count + k] * weight[k]
                weight[row] /= kernel[row * count + row]
            }
            for (row in count - 1 downTo 0) {
                for (k in row + 1 until count) weight[row] -= kernel[k * count + row] * weight[k]
                weight[row] /= kernel[row * count + row]
            }
        }
        for (axis in 0..1) {
            for (at in shares[axis].indices) { // a Gaussian of two coordinates is the product of one in each
                val apart = (2 * (at / count) + 1.0) / GRID - 1 - places[axis][at % count]
                shares[axis][at] = gaussian(apart * apart)
            }
        }
    }

    private fun add(axis: Int, channels: Int) {
        val (across, down) = shares
        val weight = weights[axis]
        for (row in 0 until GRID) {
            for (column in 0 until GRID) {
                var sum = 0.0
                for (k in 0 until count) sum += down[row * count + k] * weight[k] * across[column * count + k]
                line[column] = sum.toFloat()
            }
            for (column in 0 until size) {
                lines[row * size + column] = taps.between(line[taps.first[column]], line[taps.second[column]], column)
            }
        }
        val step = if (interleaved) channels else 1
        for (row in 0 until size) {
            val upper = taps.first[row] * size
            val lower = taps.second[row] * size
            var at = index(axis, row * size, channels)
            for (column in 0 until size) {
                moved[at] += taps.between(lines[upper + column], lines[lower + column], row) / warp.scale
                at += step
            }
        }
    }
}

/** Between which two of [size] values each of [frame] pixels lies: runtime/sampler/resize.py. */
private class Taps(size: Int, frame: Int) {
    private val places = IntArray(frame) { ((2 * it + 1) * size - frame).coerceIn(0, 2 * frame * (size - 1)) }
    private val weights = FloatArray(frame) { (places[it] % (2 * frame)).toFloat() / (2 * frame) }
    val first = IntArray(frame) { places[it] / (2 * frame) }
    val second = IntArray(frame) { first[it] + if (weights[it] > 0) 1 else 0 }

    fun between(one: Float, other: Float, pixel: Int) = one + weights[pixel] * (other - one)
}
