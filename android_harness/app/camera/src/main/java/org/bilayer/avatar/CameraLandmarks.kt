package org.bilayer.avatar

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Matrix
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.core.content.ContextCompat
import androidx.lifecycle.LifecycleOwner
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.facelandmarker.FaceLandmarker
import java.util.concurrent.ExecutorService
import org.bilayer.avatar.core.FaceMesh

/** Where landmarks come from: 136 numbers in pixels of the driver's picture, x right and y down, as a camera sees it. */
interface LandmarkSource : AutoCloseable {
    /** Calls back on the executor it was made with, for every frame with a face; [onError] with a line, on any thread. */
    fun start(onLandmarks: (FloatArray) -> Unit, onError: (String) -> Unit)
}

/** The front camera by CameraX, the face by MediaPipe's Face Landmarker (assets/face_landmarker.task). */
class CameraLandmarks(
    private val context: Context,
    private val owner: LifecycleOwner,
    private val executor: ExecutorService
) : LandmarkSource {
    private var camera: ProcessCameraProvider? = null
    @Volatile private var closed = false
    private val landmarker = FaceLandmarker.createFromOptions(
        context,
        FaceLandmarker.FaceLandmarkerOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath(MODEL).build())
            .setRunningMode(RunningMode.VIDEO)
            .setNumFaces(1)
            .build()
    )

    override fun start(onLandmarks: (FloatArray) -> Unit, onError: (String) -> Unit) {
        val opening = ProcessCameraProvider.getInstance(context)
        opening.addListener(Runnable {
            // A phone without a front camera, or with one that another app has: CameraX throws, on the main thread
            AvatarView.guarded({ if (!closed) bind(opening.get(), onLandmarks, onError) }, onError)
        }, ContextCompat.getMainExecutor(context))
    }

    private fun bind(provider: ProcessCameraProvider, onLandmarks: (FloatArray) -> Unit, onError: (String) -> Unit) {
        camera = provider
        val analysis = ImageAnalysis.Builder()
            .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
            .build()
        analysis.setAnalyzer(executor, ImageAnalysis.Analyzer { image ->
            AvatarView.guarded({ find(image)?.let(onLandmarks) }, onError)
        })
        provider.unbindAll()
        provider.bindToLifecycle(owner, CameraSelector.DEFAULT_FRONT_CAMERA, analysis)
    }

    override fun close() {
        closed = true
        camera?.unbindAll()
        executor.execute { AvatarView.guarded(landmarker::close) {} } // after the frame that it may be at
    }

    private fun find(image: ImageProxy): FloatArray? {
        val upright = try {
            if (closed) return null
            turned(image.toBitmap(), image.imageInfo.rotationDegrees)
        } finally {
            image.close() // else no other one comes
        }
        val faces = landmarker.detectForVideo(BitmapImageBuilder(upright).build(), System.nanoTime() / 1_000_000)
        val mesh = faces.faceLandmarks().firstOrNull() ?: return null
        val points = FloatArray(2 * mesh.size)
        mesh.forEachIndexed { number, point ->
            points[2 * number] = point.x() * upright.width
            points[2 * number + 1] = point.y() * upright.height
        }
        return FaceMesh.landmarks(points)
    }

    private fun turned(bitmap: Bitmap, degrees: Int): Bitmap {
        if (degrees == 0) return bitmap
        val matrix = Matrix().apply { postRotate(degrees.toFloat()) }
        return Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, matrix, true)
    }

    private companion object {
        const val MODEL = "face_landmarker.task"
    }
}
