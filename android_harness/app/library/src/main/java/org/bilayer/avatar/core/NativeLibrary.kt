package org.bilayer.avatar.core

import java.io.File
import java.util.zip.ZipFile

/**
 * The SHA-256 of a native library of the app: of its file in [folder], or, as it has been since Android 6 unless an app asks
 * for files, of its place in one of the [packages] (the APK and its splits) that it is loaded from. "" where it is in none.
 */
fun nativeLibrarySha256(folder: File, packages: List<File>, abi: String, name: String): String {
    val file = File(folder, name)
    if (file.isFile) return sha256(file)
    for (path in packages.filter { it.isFile }) {
        ZipFile(path).use { zip ->
            zip.getEntry("lib/$abi/$name")?.let { return sha256(zip.getInputStream(it)) }
        }
    }
    return ""
}
