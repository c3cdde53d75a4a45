// Landmark anchors in the app: warps that are moved, and their frames, written for test_app_anchors.py to compare.
import java.io.File
import java.nio.ByteBuffer
import java.util.Arrays
import org.bilayer.avatar.AvatarRenderer
import org.bilayer.avatar.core.*

/** Of a folder's poses: what the CPU's sampler is given, its frame, and that of the GPU, as the renderer has them drawn. */
fun move(given: File, out: File) {
    val bundle = Bundle.read(File(given, "bundle"))
    val tensors = File(given, "tensors").listFiles()!!.associate { it.name to floats(it) }
    val kept = tensors.mapValues { it.value.clone() }
    val interleaved = File(given, "interleaved").exists()
    val mover = bundle.anchors?.let { WarpMover(bundle, interleaved) }
    val planes = Planes(bundle, interleaved)
    val renderer = AvatarRenderer(bundle, Constant(tensors, bundle.dlc!!, interleaved))
    renderer.target(android.view.Surface())
    val screen = AvatarRenderer::class.java.getDeclaredField("screen").apply { isAccessible = true }.get(renderer)
    val rgba = ByteBuffer.allocateDirect(4 * bundle.frameSize * bundle.frameSize)
    fun keep(name: String) {
        rgba.rewind()
        File(out, name).writeBytes(ByteArray(rgba.capacity()).also { rgba.get(it) })
    }
    floats(File(given, "poses")).toList().chunked(Pose.WIDTH).forEachIndexed { number, numbers ->
        val pose = numbers.toFloatArray()
        planes.fill(mover?.move(tensors, pose) ?: tensors)
        write(File(out, "planes_$number"), planes.deltaUv + planes.lfRgb + (planes.mask ?: FloatArray(0)))
        renderer.compose(pose, rgba)
        keep("frame_$number")
        renderer.draw(pose)
        (screen as NativeScreen).read(rgba)
        keep("screen_$number")
    }
    if (mover != null) println("${given.name}: " + said { mover.move(mapOf("none" to FloatArray(1)), bundle.sourcePose) })
    println("${given.name}: ${renderer.drawnBy}, kept ${tensors.all { Arrays.equals(it.value, kept[it.key]) }}")
    renderer.target(null)
    renderer.sampler.close()
}

fun main(arguments: Array<String>) {
    val folder = File(arguments[0])
    for (given in File(folder, "anchored").listFiles()!!.sorted()) {
        move(given, File(folder, "kotlin/${given.name}").also { it.mkdirs() })
    }
    for (given in File(folder, "faults").listFiles()!!.sorted()) {
        println("fault ${given.name}: " + said { Bundle.read(given).anchors?.points?.size })
    }
}
