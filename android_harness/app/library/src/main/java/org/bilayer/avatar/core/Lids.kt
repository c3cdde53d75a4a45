package org.bilayer.avatar.core

/** Where the pieces of one eye belong in the texture, without its border; in the file they are the tensor [tensor]. */
class DrawnEye(val tensor: String, val left: Int, val top: Int, val width: Int, val height: Int)

/**
 * Lids that are drawn, for networks that do not move them: [levels] pieces of the texture for each eye, the picture's left
 * one first, farther and farther shut (docs/bundle.md, "The lids").
 */
class DrawnLids(val levels: Int, val eyes: List<DrawnEye>, val file: BundledFile) {
    companion object {
        private const val MAX_LEVELS = 64

        fun of(all: Fields, file: BundledFile, textureSize: Int): DrawnLids {
            val levels = all.int("levels")
            require(levels in 1..MAX_LEVELS) { "lids.levels: expected 1 to $MAX_LEVELS, found $levels" }
            val eyes = all.list("eyes").map { eye ->
                val place = listOf("left", "top", "width", "height").map { eye.int(it) }
                val (left, top, width, height) = place
                val inside = maxOf(left + width, top + height) <= textureSize
                require(minOf(left, top) >= 0 && minOf(width, height) >= 1 && inside) {
                    "${eye.where}left: expected a place in the texture of $textureSize texels, found $place"
                }
                DrawnEye(eye.string("tensor"), left, top, width, height)
            }
            val two = eyes.size == 2 && eyes[0].tensor != eyes[1].tensor
            require(two) { "lids.eyes: expected two, each with its tensor" }
            return DrawnLids(levels, eyes, file)
        }
    }
}

/** Texels (height, width, 4), and where they belong in the packed texture. */
class Patch(val left: Int, val top: Int, val width: Int, val height: Int, val texels: FloatArray)

/** Lays the lids of a pose into a bundle's packed texture, in place. The bundle has lids; [texels] show open eyes yet. */
class LidPainter(bundle: Bundle, private val texels: FloatArray) {
    private val lids = bundle.lids!!
    private val source = bundle.sourcePose
    private val side = bundle.textureSize + 3
    private val shown = IntArray(lids.eyes.size)
    private val patches: List<List<Patch>> // of each eye: that of the open one, then its pieces

    init {
        val shapes = lids.eyes.associate { it.tensor to listOf(lids.levels, it.height, it.width, 4) }
        val pieces = readTensors(lids.file.file, shapes)
        patches = lids.eyes.map { eye ->
            val size = 4 * eye.width * eye.height
            val open = FloatArray(size)
            for (row in 0 until eye.height) {
                val from = 4 * ((eye.top + 1 + row) * side + eye.left + 1)
                texels.copyInto(open, 4 * row * eye.width, from, from + 4 * eye.width)
            }
            val own = List(lids.levels) { pieces.getValue(eye.tensor).copyOfRange(it * size, (it + 1) * size) }
            (listOf(open) + own).map { Patch(eye.left + 1, eye.top + 1, eye.width, eye.height, it) }
        }
    }

    /** Lays in the lids of a pose (136), and gives what has been: nothing where they were shown before. */
    fun show(pose: FloatArray): List<Patch> {
        val levels = shutEyes(pose, source).map { Math.rint(it * lids.levels).toInt() }
        return levels.indices.filter { levels[it] != shown[it] }.map { eye ->
            shown[eye] = levels[eye]
            patches[eye][levels[eye]].also(this::lay)
        }
    }

    private fun lay(patch: Patch) {
        for (row in 0 until patch.height) {
            val from = 4 * row * patch.width
            patch.texels.copyInto(texels, 4 * ((patch.top + row) * side + patch.left), from, from + 4 * patch.width)
        }
    }
}

private const val OPEN = 0.85 // of the photo's opening: runtime/lids.py says why
private const val SHUT = 0.3
private const val MOST = 10.0 // eyes' widths: runtime/face/expression.py

/** How far a pose shuts each eye, the picture's left one first: 0 as in the photo or wider, 1 shut. */
fun shutEyes(pose: FloatArray, source: FloatArray): List<Double> = listOf(36, 42).map { first ->
    val ratio = opening(pose, first) / Math.max(opening(source, first), 1e-6)
    ((OPEN - ratio) / (OPEN - SHUT)).coerceIn(0.0, 1.0)
}

/** Distance of the lids over the eye's width, of the six landmarks from [first] on. */
private fun opening(pose: FloatArray, first: Int): Double {
    fun apart(a: Int, b: Int): Double {
        val (one, other) = listOf(2 * (first + a), 2 * (first + b))
        return Math.hypot(pose[one].toDouble() - pose[other], pose[one + 1].toDouble() - pose[other + 1])
    }
    return Math.min((apart(1, 5) + apart(2, 4)) / Math.max(2 * apart(0, 3), 1e-12), MOST)
}
