package org.bilayer.sample

import android.Manifest
import android.content.pm.PackageManager
import android.os.Bundle as State
import android.view.View
import android.widget.Button
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import java.io.File
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone
import org.bilayer.avatar.AvatarRenderer
import org.bilayer.avatar.AvatarView
import org.bilayer.avatar.CameraLandmarks
import org.bilayer.avatar.Phone
import org.bilayer.avatar.core.Bundle
import org.bilayer.avatar.core.InputException
import org.bilayer.avatar.core.Measurement
import org.bilayer.avatar.core.Protocol
import org.bilayer.avatar.core.RelativeMotion
import org.bilayer.avatar.core.ResultFile
import org.bilayer.avatar.core.Track

/** Plays the avatar in the folder `bundle` of the app's files by the track beside it or by the front camera, and measures it. */
class MainActivity : ComponentActivity() {
    private lateinit var view: AvatarView
    private lateinit var text: TextView
    private var camera: CameraLandmarks? = null
    @Volatile private var playing = 0 // counts what was started; the latest plays

    override fun onCreate(state: State?) {
        super.onCreate(state)
        text = TextView(this)
        view = AvatarView(this, this::say) {
            val bundle = Bundle.read(File(filesDir, "bundle"))
            AvatarRenderer(bundle, network(application, bundle))
        }
        val buttons = LinearLayout(this)
        for ((name, action) in listOf("Track" to this::playTrack, "Camera" to this::askForCamera, "Measure" to this::measure)) {
            buttons.addView(Button(this).apply {
                text = name
                setOnClickListener(View.OnClickListener { action() })
            })
        }
        val all = LinearLayout(this).apply { orientation = LinearLayout.VERTICAL }
        all.addView(buttons)
        all.addView(text)
        all.addView(view, LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1f))
        setContentView(all)
        view.run { renderer -> renderer.draw(renderer.bundle.sourcePose) }
    }

    override fun onDestroy() {
        stop()
        view.close()
        super.onDestroy()
    }

    override fun onRequestPermissionsResult(code: Int, permissions: Array<String>, results: IntArray) {
        super.onRequestPermissionsResult(code, permissions, results)
        if (results.firstOrNull() == PackageManager.PERMISSION_GRANTED) playCamera()
    }

    private fun playTrack() {
        val own = stop()
        view.run { renderer ->
            val motion = RelativeMotion(renderer.bundle.sourcePose)
            play(own, track().frames.map(motion::pose), 0)
        }
    }

    /** A frame, then the next one: so that the surface may change in between. */
    private fun play(own: Int, poses: List<FloatArray>, number: Int) {
        view.run { renderer ->
            if (playing != own) return@run
            renderer.draw(poses[number % poses.size])
            if (number % 15 == 0) say((renderer.stages.lines() + renderer.drawnBy).joinToString("\n"))
            play(own, poses, number + 1)
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
        var motion: RelativeMotion? = null // the first frame is the reference
        AvatarView.guarded({
            camera = CameraLandmarks(this, this, view.worker).also { source ->
                source.start({ landmarks ->
                    view.run { renderer ->
                        val moved = motion ?: RelativeMotion(renderer.bundle.sourcePose).also { motion = it }
                        if (playing == own) renderer.draw(moved.pose(landmarks))
                    }
                }, this::say)
            }
        }, this::say)
    }

    private fun measure() {
        stop()
        view.run { renderer ->
            val motion = RelativeMotion(renderer.bundle.sourcePose)
            val frames = track().frames
            val poses = frames.filterIndexed { number, _ -> number % Math.max(frames.size / POSES, 1) == 0 }.take(POSES)
            val protocol = Protocol()
            val before = Phone.throttling(this)
            val measured = Measurement(renderer.network, renderer.sampler, renderer.bundle, protocol, System::nanoTime)
            measured.run(poses.map(motion::pose), this::say)
            val utc = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss+00:00", Locale.ROOT)
            utc.timeZone = TimeZone.getTimeZone("UTC")
            val file = ResultFile(
                renderer.bundle, Phone.facts(), protocol, "${poses.size} of the track", Phone.samplerSha256(this),
                BuildConfig.VERSION_NAME, utc.format(Date())
            )
            val target = File(filesDir, "app-result.json")
            target.writeText(file.json(renderer.network, measured, (before + Phone.throttling(this)).distinct()))
            say("$target\nnetwork ${measured.total.median} ms, sampler ${measured.frames.median} ms")
        }
    }

    /** Ends what plays; the number of what comes next. */
    private fun stop(): Int {
        camera?.close()
        camera = null
        return ++playing
    }

    private fun track(): Track = Track.read(
        listOf("track.npy", "track.json").map { File(filesDir, it) }.firstOrNull { it.isFile }
            ?: throw InputException("$filesDir: expected track.npy or track.json")
    )

    private fun say(line: String) = runOnUiThread(Runnable { text.text = line })

    private companion object {
        const val POSES = 8
    }
}
