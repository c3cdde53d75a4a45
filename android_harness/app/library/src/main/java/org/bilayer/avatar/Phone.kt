package org.bilayer.avatar

import android.content.Context
import android.os.Build
import android.os.PowerManager
import java.io.File
import org.bilayer.avatar.core.Device
import org.bilayer.avatar.core.NativeSampler
import org.bilayer.avatar.core.nativeLibrarySha256

/** What Android says of the device, and how warm it is. */
object Phone {
    private const val MODERATE = 2 // of Android's thermal status, 0 to 6

    fun facts(): Device {
        val abi = Build.SUPPORTED_ABIS.first()
        val kernel = System.getProperty("os.version") ?: ""
        val machine = System.getProperty("os.arch") ?: abi
        return Device(
            maker = Build.MANUFACTURER, model = Build.MODEL, android = Build.VERSION.RELEASE,
            build = "${Build.ID} ${Build.VERSION.INCREMENTAL}", patch = Build.VERSION.SECURITY_PATCH,
            platform = Build.BOARD, soc = if (Build.VERSION.SDK_INT >= 31) Build.SOC_MODEL else "",
            architecture = machine, kernel = kernel,
            emulation = Device.emulation(Build.HARDWARE, abi, Build.FINGERPRINT.contains("generic"))
        )
    }

    /** Of the app around this library, as its build file names it. */
    fun appVersion(context: Context): String =
        context.packageManager.getPackageInfo(context.packageName, 0).versionName ?: ""

    /** Of the library that samples, wherever Android keeps it. */
    fun samplerSha256(context: Context): String {
        val info = context.applicationInfo
        val packages = listOf(info.sourceDir) + (info.splitSourceDirs ?: emptyArray())
        val name = System.mapLibraryName(NativeSampler.LIBRARY)
        return nativeLibrarySha256(File(info.nativeLibraryDir), packages.map(::File), Build.SUPPORTED_ABIS.first(), name)
    }

    /** A line if Android asks apps to do less. */
    fun throttling(context: Context): List<String> {
        if (Build.VERSION.SDK_INT < 29) return emptyList()
        val status = context.getSystemService(PowerManager::class.java).currentThermalStatus
        return if (status >= MODERATE) listOf("thermal status $status of 6") else emptyList()
    }
}
