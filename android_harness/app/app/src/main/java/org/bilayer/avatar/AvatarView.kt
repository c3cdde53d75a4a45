package org.bilayer.avatar

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.Rect
import android.graphics.Typeface
import android.view.View
import java.nio.ByteBuffer

/** Shows the last frame, as large as it fits, and lines of text over it. */
class AvatarView(context: Context) : View(context) {
    private val lock = Any()
    private var bitmap: Bitmap? = null
    private var lines = emptyList<String>()
    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)
    private val text = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        color = Color.WHITE
        typeface = Typeface.MONOSPACE
        textSize = 14 * resources.displayMetrics.density
    }

    /** (side, side, 4) RGBA, premultiplied; from any thread. Copies it. */
    fun show(rgba: ByteBuffer, side: Int, said: List<String>) {
        synchronized(lock) {
            val frame = bitmap ?: Bitmap.createBitmap(side, side, Bitmap.Config.ARGB_8888).also { bitmap = it }
            rgba.rewind()
            frame.copyPixelsFromBuffer(rgba)
            lines = said
        }
        postInvalidate()
    }

    /** Text alone, from any thread; the frame stays. */
    fun say(said: List<String>) {
        synchronized(lock) { lines = said }
        postInvalidate()
    }

    override fun onDraw(canvas: Canvas) {
        canvas.drawColor(Color.DKGRAY)
        synchronized(lock) {
            val side = Math.min(width, height)
            bitmap?.let { canvas.drawBitmap(it, null, Rect(0, 0, side, side), smooth) }
            lines.forEachIndexed { number, line -> canvas.drawText(line, 16f, (number + 2) * text.textSize * 1.2f, text) }
        }
    }
}
