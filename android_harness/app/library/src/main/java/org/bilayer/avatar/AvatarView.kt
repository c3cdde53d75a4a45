package org.bilayer.avatar

import android.content.Context
import android.view.Surface
import android.view.SurfaceHolder
import android.view.SurfaceView
import java.util.concurrent.Executors
import java.util.concurrent.Future
import java.util.concurrent.RejectedExecutionException
import java.util.concurrent.TimeUnit
import java.util.concurrent.TimeoutException
import org.bilayer.avatar.core.InputException
import org.bilayer.avatar.core.RelativeMotion
import org.bilayer.avatar.core.Track

/**
 * A view that an avatar is drawn into, and the one thread that does all of its work: [make] makes the renderer there, when it
 * is first wanted. What goes wrong, a library that does not load among it, is told to [said] as a line, on that thread.
 */
class AvatarView(
    context: Context,
    private val said: (String) -> Unit,
    private val make: () -> AvatarRenderer
) : SurfaceView(context), SurfaceHolder.Callback, AutoCloseable {
    val worker = Executors.newSingleThreadExecutor()
    private var renderer: AvatarRenderer? = null
    private var surface: Surface? = null
    @Volatile private var turn = 0 // counts what was started; the latest draws

    init {
        holder.addCallback(this)
    }

    /** Does [task] with the renderer, after what was asked for before. */
    fun run(task: (AvatarRenderer) -> Unit): Future<*>? = submit {
        task(renderer ?: make().also {
            renderer = it
            it.target(surface)
        })
    }

    /**
     * Plays a track again and again, at its frame rate or with frames left out: the avatar moves as the track's person does
     * since its first frame. Until [stop], or until something else is started. [track] is read on the worker; [seen] is told
     * after each frame.
     */
    fun play(track: () -> Track, seen: (AvatarRenderer) -> Unit = {}) {
        val own = stop()
        run { renderer ->
            val read = track()
            val motion = RelativeMotion(renderer.bundle.sourcePose)
            val poses = read.frames.map(motion::pose)
            val begin = System.nanoTime()
            next(own) {
                renderer.draw(poses[((System.nanoTime() - begin) * read.fps / 1e9).toLong().rem(poses.size).toInt()])
                seen(renderer)
            }
        }
    }

    /** Takes a [LandmarkSource]'s landmarks from now on, the first of them as the reference; until as [play]. */
    fun follow(seen: (AvatarRenderer) -> Unit = {}): (FloatArray) -> Unit {
        val own = stop()
        var motion: RelativeMotion? = null
        return { landmarks ->
            run { renderer ->
                if (turn == own) {
                    val moved = motion ?: RelativeMotion(renderer.bundle.sourcePose).also { motion = it }
                    renderer.draw(moved.pose(landmarks))
                    seen(renderer)
                }
            }
        }
    }

    /** Ends what plays or follows; the number of what comes next. By the thread of the view. */
    fun stop(): Int = ++turn

    override fun surfaceCreated(holder: SurfaceHolder) {}

    override fun surfaceChanged(holder: SurfaceHolder, format: Int, width: Int, height: Int) {
        val next = holder.surface
        submit {
            surface = next
            renderer?.target(next)
        }
    }

    /** Waits for the frame that is being drawn, since the surface is gone afterwards; not for a measurement, which draws none. */
    override fun surfaceDestroyed(holder: SurfaceHolder) {
        val gone = submit {
            surface = null
            renderer?.target(null)
        }
        try {
            gone?.get(1, TimeUnit.SECONDS)
        } catch (error: TimeoutException) { // Android ends an app whose view waits for 5
        }
    }

    override fun close() {
        stop()
        submit { renderer?.close() }
        worker.shutdown()
    }

    /** A frame, then the next one: so that the surface may change in between. */
    private fun next(own: Int, frame: () -> Unit) {
        if (turn != own) return
        frame()
        submit { next(own, frame) }
    }

    private fun submit(task: () -> Unit): Future<*>? = try {
        worker.submit { guarded(task, said) }
    } catch (error: RejectedExecutionException) { // closed
        null
    }

    companion object {
        /** Runs [task]; a line of what went wrong goes to [said]. Nothing is thrown, which would end the app. */
        fun guarded(task: () -> Unit, said: (String) -> Unit) = try {
            task()
        } catch (error: InputException) {
            said(error.message ?: "")
        } catch (error: Throwable) { // SDKs' exceptions; and Errors: UnsatisfiedLinkError, NoClassDefFoundError, OutOfMemoryError
            said("${error.javaClass.simpleName}: ${error.message}")
        }
    }
}
