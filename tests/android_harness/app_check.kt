// The app's core on a plain JVM: what it makes of files, written for test_app.py to compare with the Python side.
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Arrays
import java.util.concurrent.CountDownLatch
import org.bilayer.avatar.AvatarRenderer
import org.bilayer.avatar.AvatarView
import org.bilayer.avatar.core.*
import org.bilayer.avatar.measure
import org.json.JSONObject

fun floats(file: File): FloatArray {
    val buffer = ByteBuffer.wrap(file.readBytes()).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
    return FloatArray(buffer.remaining()).also { buffer.get(it) }
}

fun write(file: File, values: FloatArray) {
    val buffer = ByteBuffer.allocate(4 * values.size).order(ByteOrder.LITTLE_ENDIAN)
    buffer.asFloatBuffer().put(values)
    file.writeBytes(buffer.array())
}

/** Gives recorded outputs by pose, and lets an invented clock go on. */
class Recorded(
    val outputs: List<Pair<FloatArray, Map<String, FloatArray>>>, val clock: LongArray, override val file: BundledFile
) : Network {
    override val mode = "gpu-fp16"
    override val title = "GPU_FLOAT16"
    override val program = "SNPE's Java API"
    override val version = "1.32.0.555"
    override val interleaved = true
    override val initMs = 900.5
    override fun run(pose: FloatArray): Map<String, FloatArray> {
        clock[0] += 40_000_000L
        return outputs.first { Arrays.equals(it.first, pose) }.second
    }
    override fun close() {}
}

/** Gives the same for every pose, and counts. */
class Constant(
    val tensors: Map<String, FloatArray>, override val file: BundledFile, override val interleaved: Boolean = true
) : Network {
    override val mode = "litert-xnnpack"
    override val title = "a constant"
    override val program = "none"
    override val version = ""
    override val initMs = 0.0
    val poses = ArrayList<FloatArray>()
    override fun run(pose: FloatArray): Map<String, FloatArray> = tensors.also { poses.add(pose) }
    override fun close() = println("view: network closed")
}

/** A view on its thread: what an activity does with it, with memory for a surface. */
fun view(folder: File, bundle: Bundle, tensors: Map<String, FloatArray>) {
    val context = android.app.Application()
    val network = Constant(tensors, bundle.dlc!!)
    val view = AvatarView(context, { line -> println("view: $line") }) { AvatarRenderer(bundle, network) }
    view.run { it.draw(bundle.sourcePose) }!!.get() // before there is a surface, as when an activity begins
    view.surfaceChanged(view.holder, 0, 0, 0)
    view.run { println("view: ${network.poses.count { Arrays.equals(it, bundle.sourcePose) }} times at rest, by ${it.drawnBy}") }!!.get()
    val track = Track.read(File(folder, "track.npy"))
    val played = CountDownLatch(3)
    view.play({ track }) { played.countDown() }
    played.await()
    val follow = view.follow() // which ends the track
    view.run {}!!.get()
    network.poses.clear()
    track.frames.forEach(follow)
    view.run {}!!.get()
    val motion = RelativeMotion(bundle.sourcePose)
    println("view: followed ${network.poses.size}, ${track.frames.zip(network.poses).all { (a, b) -> Arrays.equals(motion.pose(a), b) }}")
    view.stop()
    follow(track.frames[0])
    view.run { println("view: stopped at ${network.poses.size}") }!!.get()
    view.play({ throw InputException("no track") })
    view.run { throw UnsatisfiedLinkError("no library") }!!.get()
    val busy = CountDownLatch(1)
    view.run { busy.await() }
    view.surfaceDestroyed(view.holder) // returns though the thread is busy
    busy.countDown()
    view.run { println("view: drawn by ${it.drawnBy}") }!!.get()
    view.run { println(measure(context, it, track, File(folder, "kotlin/app-result.json")) {}.lines().size) }!!.get()
    view.close()
    view.worker.awaitTermination(1, java.util.concurrent.TimeUnit.MINUTES)
    println("view: ${view.run {}}")
}

/** Eyes that shut and open again: of each pose the texture, a frame by the CPU, and one by the GPU for each filter. */
fun blink(folder: File, out: File, tensors: Map<String, FloatArray>) {
    val bundle = Bundle.read(File(folder, "blinking"))
    val poses = floats(File(folder, "blinks")).toList().chunked(Pose.WIDTH) { it.toFloatArray() }
    val renderer = AvatarRenderer(bundle, Constant(tensors, bundle.dlc!!))
    val rgba = ByteBuffer.allocateDirect(4 * bundle.frameSize * bundle.frameSize)
    fun keep(name: String) {
        rgba.rewind()
        File(out, name).writeBytes(ByteArray(rgba.capacity()).also { rgba.get(it) })
    }
    poses.forEachIndexed { number, pose ->
        renderer.compose(pose, rgba)
        keep("blink_frame_$number")
    }
    renderer.sampler.use2 { sampler -> println("blink: " + said { sampler.lay(Patch(66, 0, 2, 1, FloatArray(8))) }) }
    for (hardware in listOf(false, true)) {
        val texels = readTexture(bundle)
        val painter = LidPainter(bundle, texels)
        NativeScreen(bundle, texels, true, null, bundle.frameSize, hardware).use2 { screen ->
            poses.forEachIndexed { number, pose ->
                val patches = painter.show(pose).onEach(screen::lay)
                screen.draw(tensors)
                screen.read(rgba)
                keep("blink_screen_${number}_$hardware")
                write(File(out, "blink_texture_$number"), texels)
                println("blink: ${patches.size} laid in")
            }
            println("blink: " + said { screen.lay(Patch(66, 0, 2, 1, FloatArray(8))) })
        }
    }
    for (name in File(folder, "lids").list()!!.sorted()) {
        println("lids $name: " + said { Bundle.read(File(folder, "lids/$name")).let { LidPainter(it, readTexture(it)) } })
    }
}

fun said(action: () -> Any?): String = try {
    action().toString()
} catch (error: InputException) {
    "InputException: ${error.message}"
} catch (error: IllegalArgumentException) {
    "IllegalArgumentException: ${error.message}"
}

fun main(arguments: Array<String>) {
    val folder = File(arguments[0])
    val out = File(folder, "kotlin").also { it.mkdir() }
    val bundle = Bundle.read(File(folder, "bundle"))
    val texels = readTexture(bundle)
    write(File(out, "texture"), texels)

    val track = Track.read(File(folder, "track.npy"))
    check(Track.read(File(folder, "track.json")).frames.zip(track.frames).all { (a, b) -> Arrays.equals(a, b) })
    val motion = RelativeMotion(bundle.sourcePose)
    val poses = track.frames.map(motion::pose)
    poses.forEachIndexed { number, pose -> write(File(out, "relative_$number"), pose) }
    track.frames.forEachIndexed { number, frame -> write(File(out, "absolute_$number"), Pose.absolute(frame)) }
    write(File(out, "encoded"), Pose.encode(poses[0], 3))
    write(File(out, "mesh"), FaceMesh.landmarks(floats(File(folder, "mesh"))))

    val clock = LongArray(1)
    val outputs = poses.indices.map { poses[it] to mapOf("layers" to floats(File(folder, "layers_$it"))) }
    val network = Recorded(outputs, clock, bundle.dlc!!.checked())
    val planes = Planes(bundle, bundle.dlcInterleaved)
    NativeSampler(bundle, texels).use2 { sampler ->
        for (premultiplied in listOf(false, true)) {
            outputs.forEachIndexed { number, (_, tensors) ->
                planes.fill(tensors)
                val rgba = ByteBuffer.allocateDirect(4 * bundle.frameSize * bundle.frameSize)
                sampler.compose(planes, rgba, premultiplied)
                val bytes = ByteArray(rgba.capacity()).also { rgba.get(it) }
                File(out, "frame_${number}_$premultiplied").writeBytes(bytes)
            }
        }
        println(said { sampler.compose(planes, ByteBuffer.allocateDirect(4), true) })
        for (phone in listOf("qcom" to "arm64-v8a", "ranchu" to "x86_64")) {
            val protocol = Protocol(executions = 10, warmUp = 2, rounds = 3)
            var calls = 0
            val measured = Measurement(network, sampler, bundle, protocol) { clock[0] + 1_000_000L * (calls++ % 3 / 2) }
            measured.run(poses) {}
            val reasons = Device.emulation(phone.first, phone.second, false)
            val device = Device("Test", "Phone \"1\"\u0007é😀", "10", "QD1A", "2019-10-05", "msmnile", "", "aarch64", "4.14", reasons)
            val file = ResultFile(bundle, device, protocol, "2 of a track", "f".repeat(64), "0.1.0", "2026-01-02T03:04:05+00:00")
            File(out, "${phone.first}.json").writeText(file.json(network, measured, listOf("thermal status 3 of 6")))
        }
    }
    for (hardware in listOf(false, true)) {
        println("screen: " + said {
            NativeScreen(bundle, texels, true, null, bundle.frameSize, hardware).use2 { screen ->
                outputs.forEachIndexed { number, (_, tensors) ->
                    screen.draw(tensors)
                    val rgba = ByteBuffer.allocateDirect(4 * bundle.frameSize * bundle.frameSize)
                    screen.read(rgba)
                    File(out, "screen_${number}_$hardware").writeBytes(ByteArray(rgba.capacity()).also { rgba.get(it) })
                }
                said { screen.draw(mapOf("layers" to FloatArray(7))) } + "; " + said { screen.draw(HashMap()) }
            }
        })
    }
    view(folder, bundle, outputs[0].second)
    blink(folder, out, outputs[0].second)
    println("spread: " + List(20) { FloatArray(1) { _ -> it.toFloat() } }.let { Track(it, 25.0).spread(8).map { one -> one[0].toInt() } })
    val packages = listOf(File(folder, "none.apk"), File(folder, "split.apk"))
    println("library: " + nativeLibrarySha256(folder, packages, "arm64-v8a", "libx.so"))
    println("file: " + nativeLibrarySha256(folder, packages, "arm64-v8a", "any.json"))
    println("missing: '" + nativeLibrarySha256(folder, packages, "arm64-v8a", "liby.so") + "'")
    val stages = Stages { clock[0] }
    stages.begin()
    clock[0] += 42_000_000L
    stages.end("network")
    println(stages.lines())
    for (name in File(folder, "broken").list()!!.sorted()) println("$name: " + said { Bundle.read(File(folder, "broken/$name")).dlc!!.checked().tool })
    for (name in File(folder, "tracks").list()!!.sorted()) println("$name: " + said { Track.read(File(folder, "tracks/$name")).fps })
    println((readJson(File(folder, "any.json").readText()) as JSONObject).toString(2))
}

fun <T : AutoCloseable, R> T.use2(action: (T) -> R): R = try {
    action(this)
} finally {
    close()
}
