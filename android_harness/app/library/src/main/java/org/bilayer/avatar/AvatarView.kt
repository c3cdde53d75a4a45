package org.bilayer.avatar

import android.content.Context
import android.view.Surface
import android.view.SurfaceHolder
import android.view.SurfaceView
import java.util.concurrent.Executors
import java.util.concurrent.Future
import java.util.concurrent.RejectedExecutionException
import org.bilayer.avatar.core.InputException

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

    override fun surfaceCreated(holder: SurfaceHolder) {}

    override fun surfaceChanged(holder: SurfaceHolder, format: Int, width: Int, height: Int) {
        val next = holder.surface
        submit {
            surface = next
            renderer?.target(next)
        }
    }

    /** Waits for the frame that is being drawn: the surface is gone afterwards. */
    override fun surfaceDestroyed(holder: SurfaceHolder) {
        submit {
            surface = null
            renderer?.target(null)
        }?.get()
    }

    override fun close() {
        submit { renderer?.close() }
        worker.shutdown()
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
