package org.bilayer.avatar

import android.app.Application
import android.graphics.Bitmap
import android.graphics.Paint
import android.graphics.Rect
import android.view.Surface
import java.io.File
import java.nio.ByteBuffer
import org.bilayer.avatar.core.Bundle
import org.bilayer.avatar.core.InputException
import org.bilayer.avatar.core.LidPainter
import org.bilayer.avatar.core.NativeSampler
import org.bilayer.avatar.core.NativeScreen
import org.bilayer.avatar.core.Network
import org.bilayer.avatar.core.Planes
import org.bilayer.avatar.core.Pose
import org.bilayer.avatar.core.Sampler
import org.bilayer.avatar.core.Stages
import org.bilayer.avatar.core.WarpMover
import org.bilayer.avatar.core.readTexture

/**
 * An avatar: poses in, frames on a surface. [AvatarView] is a view around one, with the thread that it wants.
 *
 * A pose is 136 numbers, 68 landmarks in -1..1 (core.Pose, core.RelativeMotion). [network] is LiteRtNetwork, NcnnNetwork,
 * SnpeNetwork or your own, and closed with this. All calls by one thread.
 */
class AvatarRenderer(val bundle: Bundle, val network: Network) : AutoCloseable {
    private val madeSampler = lazy { NativeSampler(bundle, texels) }
    val sampler: Sampler by madeSampler // on the CPU
    val stages = Stages(System::nanoTime)

    /** What draws: the GPU, or the CPU where a phone's GPU cannot, and why. */
    var drawnBy = "nothing"
        private set
    private val texels = readTexture(bundle)
    private val lids = bundle.lids?.let { LidPainter(bundle, texels) }
    private val mover = bundle.anchors?.let { WarpMover(bundle, network.interleaved) }
    private val planes by lazy { Planes(bundle, network.interleaved) }
    private val rgba by lazy { ByteBuffer.allocateDirect(4 * bundle.frameSize * bundle.frameSize) }
    private val bitmap by lazy { Bitmap.createBitmap(bundle.frameSize, bundle.frameSize, Bitmap.Config.ARGB_8888) }
    private var surface: Surface? = null
    private var screen: NativeScreen? = null
    private var last: FloatArray? = null

    /** Where frames go from now on, the last one first; null before a surface ends. */
    fun target(next: Surface?) {
        screen?.close()
        screen = null
        surface = next
        drawnBy = "nothing"
        if (next == null) return
        try {
            screen = NativeScreen(bundle, texels, network.interleaved, next, bundle.frameSize)
            drawnBy = "GPU"
        } catch (error: InputException) {
            drawnBy = "CPU: ${error.message}"
        }
        last?.let(this::draw)
    }

    /** Runs the network and shows its frame; with no surface it is only run. */
    fun draw(pose: FloatArray) {
        last = pose
        stages.begin()
        val tensors = network.run(Pose.encode(pose, bundle.harmonics))
        stages.end("network")
        shut(pose)
        val onGpu = screen
        if (onGpu != null) {
            onGpu.draw(moved(tensors, pose))
        } else {
            surface?.let { show(moved(tensors, pose), it) }
        }
        stages.end("frame")
    }

    /** Runs the network and writes its frame (F, F, 4), premultiplied RGBA, into a direct buffer, by the CPU. */
    fun compose(pose: FloatArray, out: ByteBuffer) {
        planes.fill(moved(network.run(Pose.encode(pose, bundle.harmonics)), pose))
        shut(pose)
        sampler.compose(planes, out, true)
    }

    override fun close() {
        target(null)
        network.close()
        if (madeSampler.isInitialized()) sampler.close()
    }

    /** The network's results with the warp moved by the anchors, where the bundle has some. */
    private fun moved(tensors: Map<String, FloatArray>, pose: FloatArray) = mover?.move(tensors, pose) ?: tensors

    /** Lays the lids of a pose into the texture, and into the copies that the GPU and the CPU have of it. */
    private fun shut(pose: FloatArray) {
        for (patch in lids?.show(pose).orEmpty()) {
            screen?.lay(patch)
            if (madeSampler.isInitialized()) sampler.lay(patch)
        }
    }

    private fun show(tensors: Map<String, FloatArray>, onto: Surface) {
        planes.fill(tensors)
        sampler.compose(planes, rgba, true)
        rgba.rewind()
        bitmap.copyPixelsFromBuffer(rgba)
        val canvas = onto.lockCanvas(null)
        val side = Math.min(canvas.width, canvas.height)
        val left = (canvas.width - side) / 2
        val top = (canvas.height - side) / 2
        canvas.drawColor(0xFF000000.toInt())
        canvas.drawBitmap(bitmap, null, Rect(left, top, left + side, top + side), SMOOTH)
        onto.unlockCanvasAndPost(canvas)
    }

    companion object {
        private val SMOOTH = Paint(Paint.FILTER_BITMAP_FLAG)

        /** The avatar of a bundle's [folder], on the network that the library was built with. */
        fun open(application: Application, folder: File): AvatarRenderer {
            val bundle = Bundle.read(folder)
            return AvatarRenderer(bundle, builtInNetwork(application, bundle))
        }
    }
}
