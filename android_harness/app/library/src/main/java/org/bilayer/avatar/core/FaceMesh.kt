package org.bilayer.avatar.core

/** MediaPipe's face mesh, of which the first 468 points count, as the 68 landmarks of iBUG: runtime/face/mesh.py. */
object FaceMesh {
    val POINTS = intArrayOf(
        127, 234, 93, 58, 172, 150, 149, 148, 152, 377, 378, 379, 397, 288, 323, 454, 356, // jaw
        70, 63, 105, 66, 107, 336, 296, 334, 293, 300, // brows, upper edge
        168, 197, 195, 4, 98, 97, 2, 326, 327, // nose
        33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380, // eyes
        61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, // outer lips
        78, 81, 13, 311, 308, 402, 14, 178 // inner lips
    )
    private val BROWS_LOWER_EDGE = intArrayOf(46, 53, 52, 65, 55, 285, 295, 282, 283, 276)
    private val BROWS = 17..26

    /** Mesh points (x0, y0, x1, ...) -> landmarks (136); brows along the middle between their edges. */
    fun landmarks(mesh: FloatArray): FloatArray = FloatArray(Pose.WIDTH) {
        val point = it / 2
        val upper = mesh[2 * POINTS[point] + it % 2]
        if (point in BROWS) (upper + mesh[2 * BROWS_LOWER_EDGE[point - BROWS.first] + it % 2]) / 2 else upper
    }
}
