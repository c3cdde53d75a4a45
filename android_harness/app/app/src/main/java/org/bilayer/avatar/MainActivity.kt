package org.bilayer.avatar

import android.Manifest
import android.content.pm.PackageManager
import android.os.Bundle as State
import android.view.View
import android.widget.Button
import android.widget.LinearLayout
import androidx.activity.ComponentActivity
import java.io.File
import java.nio.ByteBuffer
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import org.bilayer.avatar.core.Bundle
import org.bilayer.avatar.core.InputException
import org.bilayer.avatar.core.Measurement
import org.bilayer.avatar.core.NativeSampler
import org.bilayer.avatar.core.Network
import org.bilayer.avatar.core.Planes
import org.bilayer.avatar.core.Pose
import org.bilayer.avatar.core.Protocol
import org.bilayer.avatar.core.RelativeMotion
import org.bilayer.avatar.core.ResultFile
import org.bilayer.avatar.core.Sampler
import org.bilayer.avatar.core.Stages
import org.bilayer.avatar.core.Track
import org.bilayer.avatar.core.readTexture
import org.bilayer.avatar.core.sha256

/**
 * Plays the avatar in the folder `bundle` of the app's own files by `track.npy` or `track.json` beside it, or by the front
 * camera, and measures it. All work but drawing is done by one other thread, one frame after the other.
 */
class MainActivity : ComponentActivity() {
    private lateinit var view: AvatarView
    private lateinit var worker: ExecutorService
    private var avatar: Avatar? = null
    private var camera: CameraLandmarks? = null
    @Volatile private var playing = 0 // counts what was started; the latest plays

    override fun onCreate(state: State?) {
        super.onCreate(state)
        worker = Executors.newSingleThreadExecutor()
        view = AvatarView(this)
        val buttons = LinearLayout(this)
        for ((name, action) in listOf("Track" to this::playTrack, "Camera" to this::askForCamera, "Measure" to this::measure)) {
            buttons.addView(Button(this).apply {
                text = name
                setOnClickListener(View.OnClickListener { action() })
            })
        }
        val all = LinearLayout(this).apply { orientation = LinearLayout.VERTICAL }
        all.addView(buttons)
        all.addView(view, LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1f))
        setContentView(all)
        work { loaded() }
    }

    override fun onDestroy() {
        stop()
        worker.execute { avatar?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    override fun onRequestPermissionsResult(code: Int, permissions: Array<String>, results: IntArray) {
        super.onRequestPermissionsResult(code, permissions, results)
        if (results.firstOrNull() == PackageManager.PERMISSION_GRANTED) playCamera()
    }

    private fun playTrack() {
        val own = stop()
        work {
            val avatar = loaded()
            val track = track()
            val motion = RelativeMotion(avatar.bundle.sourcePose)
            while (playing == own) {
                for (landmarks in track.frames) {
                    if (playing != own) break
                    avatar.frame(motion.pose(landmarks), view)
                }
            }
        }
    }

    private fun askForCamera() {
        if (checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED) {
            playCamera()
        } else {
            requestPermissions(arrayOf(Manifest.permission.CAMERA), 1)
        }
    }

    private fun playCamera() {
        val own = stop()
        val source = try {
            CameraLandmarks(this, this, worker)
        } catch (error: RuntimeException) { // MediaPipe's, without its model
            return say("camera: ${error.message}")
        }
        camera = source
        var motion: RelativeMotion? = null // the first frame is the reference
        source.start({ landmarks ->
            guarded {
                val avatar = loaded()
                val moved = motion ?: RelativeMotion(avatar.bundle.sourcePose).also { motion = it }
                if (playing == own) avatar.frame(moved.pose(landmarks), view)
            }
        }, this::say)
    }

    private fun measure() {
        stop()
        work {
            val avatar = loaded()
            val motion = RelativeMotion(avatar.bundle.sourcePose)
            val frames = track().frames
            val step = Math.max(frames.size / POSES, 1)
            val poses = frames.map(motion::pose).filterIndexed { number, _ -> number % step == 0 }.take(POSES)
            val protocol = Protocol()
            val before = Phone.throttling(this)
            val measured = Measurement(avatar.network, avatar.sampler, avatar.bundle, protocol, System::nanoTime)
            measured.run(poses, this::say)
            val utc = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss+00:00", Locale.ROOT)
            utc.timeZone = TimeZone.getTimeZone("UTC")
            val library = File(applicationInfo.nativeLibraryDir, System.mapLibraryName(NativeSampler.LIBRARY))
            val file = ResultFile(
                bundle = avatar.bundle, device = Phone.facts(), protocol = protocol,
                poses = "${poses.size} of the track", snpe = BuildConfig.SNPE_VERSION,
                samplerSha256 = if (library.isFile) sha256(library) else "", app = BuildConfig.VERSION_NAME,
                date = utc.format(Date())
            )
            val signs = (before + Phone.throttling(this)).distinct()
            val target = File(files(), "app-result.json")
            target.writeText(file.json(avatar.network, measured, signs))
            say("$target\nnetwork ${measured.total.median} ms, sampler ${measured.frames.median} ms")
        }
    }

    /** Ends what plays; the number of what comes next. */
    private fun stop(): Int {
        camera?.close()
        camera = null
        return ++playing
    }

    private fun files(): File = getExternalFilesDir(null) ?: filesDir

    private fun track(): Track = Track.read(
        listOf("track.npy", "track.json").map { File(files(), it) }.firstOrNull { it.isFile }
            ?: throw InputException("${files()}: expected track.npy or track.json")
    )

    private fun loaded(): Avatar = avatar ?: Avatar(
        Bundle.read(File(files(), "bundle"))
    ) { SnpeNetwork(application, it) }.also { avatar = it }

    private fun work(task: () -> Unit) = worker.execute { guarded(task) }

    private fun guarded(task: () -> Unit) {
        try {
            task()
        } catch (error: InputException) {
            say(error.message ?: "")
        } catch (error: RuntimeException) { // SNPE's and MediaPipe's
            say("${error.javaClass.simpleName}: ${error.message}")
        }
    }

    private fun say(text: String) = view.say(text.split("\n"))

    private companion object {
        const val POSES = 8
    }
}

/** A loaded avatar: its network, its sampler, and a frame's memory. */
class Avatar(val bundle: Bundle, makeNetwork: (Bundle) -> Network) : AutoCloseable {
    val sampler: Sampler = NativeSampler(bundle, readTexture(bundle))
    val network: Network = makeNetwork(bundle)
    private val planes = Planes(bundle)
    private val rgba = ByteBuffer.allocateDirect(4 * bundle.frameSize * bundle.frameSize)
    private val stages = Stages(System::nanoTime)

    fun frame(pose: FloatArray, view: AvatarView) {
        stages.begin()
        val tensors = network.run(Pose.encode(pose, bundle.harmonics))
        stages.end("network")
        planes.fill(tensors)
        stages.end("layout")
        sampler.compose(planes, rgba, true)
        stages.end("sampler")
        view.show(rgba, bundle.frameSize, stages.lines())
        stages.end("display")
    }

    override fun close() {
        network.close()
        sampler.close()
    }
}
