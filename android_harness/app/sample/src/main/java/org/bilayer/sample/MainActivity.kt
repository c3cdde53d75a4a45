package org.bilayer.sample

import android.Manifest
import android.content.pm.PackageManager
import android.os.Bundle
import android.view.View
import android.widget.Button
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import java.io.File
import org.bilayer.avatar.AvatarRenderer
import org.bilayer.avatar.AvatarView
import org.bilayer.avatar.CameraLandmarks
import org.bilayer.avatar.core.InputException
import org.bilayer.avatar.core.Track
import org.bilayer.avatar.measure

/** Plays the avatar in the folder `bundle` of the app's files by the track beside it or by the front camera, and measures it. */
class MainActivity : ComponentActivity() {
    private lateinit var view: AvatarView
    private lateinit var text: TextView
    private var camera: CameraLandmarks? = null
    private var drawn = 0

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        text = TextView(this)
        view = AvatarView(this, this::say) { AvatarRenderer.open(application, File(filesDir, "bundle")) }
        val buttons = LinearLayout(this)
        for ((name, action) in listOf("Track" to this::playTrack, "Camera" to this::askForCamera, "Measure" to this::time)) {
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

    override fun onStop() { // nobody looks
        stop()
        super.onStop()
    }

    override fun onDestroy() {
        view.close()
        super.onDestroy()
    }

    override fun onRequestPermissionsResult(code: Int, permissions: Array<String>, results: IntArray) {
        super.onRequestPermissionsResult(code, permissions, results)
        if (results.firstOrNull() == PackageManager.PERMISSION_GRANTED) playCamera() else say("the camera was not allowed")
    }

    private fun playTrack() {
        stop()
        view.play(this::track, this::sayStages)
    }

    private fun askForCamera() {
        if (checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED) {
            playCamera()
        } else {
            requestPermissions(arrayOf(Manifest.permission.CAMERA), 1)
        }
    }

    private fun playCamera() {
        stop()
        AvatarView.guarded({
            camera = CameraLandmarks(this, this, view.worker).also { it.start(view.follow(this::sayStages), this::say) }
        }, this::say)
    }

    private fun time() {
        stop()
        view.run { renderer -> say(measure(this, renderer, track(), File(filesDir, "app-result.json"), this::say)) }
    }

    private fun stop() {
        view.stop()
        camera?.close()
        camera = null
    }

    private fun track(): Track = Track.read(
        listOf("track.npy", "track.json").map { File(filesDir, it) }.firstOrNull { it.isFile }
            ?: throw InputException("$filesDir: expected track.npy or track.json")
    )

    private fun sayStages(renderer: AvatarRenderer) {
        if (drawn++ % 15 == 0) say((renderer.stages.lines() + renderer.drawnBy).joinToString("\n"))
    }

    private fun say(line: String) = runOnUiThread(Runnable { text.text = line })
}
