package org.bilayer.avatar

import android.content.Context
import java.io.File
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone
import org.bilayer.avatar.core.InputException
import org.bilayer.avatar.core.Measurement
import org.bilayer.avatar.core.Protocol
import org.bilayer.avatar.core.RelativeMotion
import org.bilayer.avatar.core.ResultFile
import org.bilayer.avatar.core.Track

private const val POSES = 8

/**
 * Times the network and the CPU's sampler on poses of [track] in the paper's protocol, and writes [file], which
 * `bilayer-device report` reads. Takes seconds, and draws nothing; [said] is told how far it is. Returns a line of what was found.
 */
fun measure(context: Context, renderer: AvatarRenderer, track: Track, file: File, said: (String) -> Unit): String {
    val motion = RelativeMotion(renderer.bundle.sourcePose)
    val poses = track.spread(POSES).map(motion::pose)
    val protocol = Protocol()
    val before = Phone.throttling(context)
    val measured = Measurement(renderer.network, renderer.sampler, renderer.bundle, protocol, System::nanoTime)
    measured.run(poses, said)
    val utc = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss+00:00", Locale.ROOT).apply { timeZone = TimeZone.getTimeZone("UTC") }
    val result = ResultFile(
        renderer.bundle, Phone.facts(), protocol, "${poses.size} of the track", Phone.samplerSha256(context),
        Phone.appVersion(context), utc.format(Date())
    )
    val unfinished = File("$file.part")
    unfinished.writeText(result.json(renderer.network, measured, (before + Phone.throttling(context)).distinct()))
    if (!unfinished.renameTo(file)) throw InputException("$file: cannot be written")
    return "$file\nnetwork ${measured.total.median} ms, sampler ${measured.frames.median} ms"
}
