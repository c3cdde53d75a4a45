package org.bilayer.avatar.core

import org.json.JSONObject

/** What a device says of itself; as DeviceFacts of android_harness/device/probe.py. No serial number: results are to be shared. */
class Device(
    val maker: String, val model: String, val android: String, val build: String, val patch: String,
    val platform: String, val soc: String, val architecture: String, val kernel: String, val emulation: List<String>
) {
    companion object {
        private val HARDWARE = listOf("goldfish", "ranchu", "cutf", "vbox86")

        /** Why this is no phone; empty for one. */
        fun emulation(hardware: String, abi: String, generic: Boolean): List<String> {
            val reasons = ArrayList<String>()
            if (HARDWARE.any { hardware.startsWith(it) }) reasons.add("hardware is $hardware")
            if (!abi.startsWith("arm")) reasons.add("its processor is $abi")
            if (generic) reasons.add("its build is a generic one")
            return reasons
        }
    }
}

/** The file that android_harness/result.schema.json describes, with what an app can know of it. */
class ResultFile(
    private val bundle: Bundle,
    private val device: Device,
    private val protocol: Protocol,
    private val poses: String, // where they are from
    private val samplerSha256: String, // of the native library; "" where it was not found
    private val app: String, // its version
    private val date: String // UTC, ISO 8601
) {
    /** Of one mode that ran; an emulated device's times are left out. [signs] of throttling. */
    fun json(network: Network, measured: Measurement, signs: List<String>): String {
        val real = device.emulation.isEmpty()
        val rounds = "mean over a round's executions; median, lowest and highest of the rounds, in one process of an app"
        return JSONObject(linkedMapOf(
            "format" to "bilayer-device-result",
            "version" to 3,
            "measured_on" to if (real) "device" else "emulated",
            "why" to device.emulation,
            "date" to date,
            "device" to linkedMapOf(
                "maker" to device.maker, "model" to device.model, "android" to device.android, "build" to device.build,
                "patch" to device.patch, "platform" to device.platform, "soc" to device.soc, "gpu" to "",
                "architecture" to device.architecture, "kernel" to device.kernel, "runtimes" to emptyList<String>(),
                "free_mb" to null, "emulation" to device.emulation
            ),
            "model" to linkedMapOf(
                "name" to bundle.name, "image_size" to bundle.imageSize, "gmacs" to bundle.gmacs,
                "trained" to bundle.trained, "onnx_sha256" to bundle.onnx.sha256,
                "converted_sha256" to network.file.sha256, "converted_by" to network.file.tool
            ),
            "tools" to linkedMapOf(
                "route" to "app", "program" to network.program, "sdk" to network.version, "runtime" to network.version,
                "program_sha256" to "", "adb" to "", "bilayer" to app
            ),
            "protocol" to linkedMapOf(
                "executions" to protocol.executions, "warm_up" to protocol.warmUp, "processes" to protocol.rounds,
                "poses" to poses, "statistic" to rounds, "cool_down_s" to 0, "start_celsius" to null
            ),
            "rows" to listOf(row(network, measured, signs, real)),
            "sampler" to sampler(network, measured, signs, real)
        )).toString(2) + "\n"
    }

    private fun row(network: Network, measured: Measurement, signs: List<String>, real: Boolean) = linkedMapOf(
        "mode" to network.mode, "title" to network.title, "missing" to null, "parity" to null,
        "processes" to protocol.rounds,
        "latency" to if (!real) null else linkedMapOf(
            "forward_ms" to null, // no such figure is to be had by these programs
            "total_ms" to spread(measured.total),
            "init_ms" to spread(Spread(network.initMs, network.initMs, network.initMs))
        ),
        "layers" to emptyList<Any>(), "throttled" to signs, "not_cooled" to protocol.rounds, "series" to emptyList<Any>()
    )

    private fun sampler(network: Network, measured: Measurement, signs: List<String>, real: Boolean) = linkedMapOf(
        "runner_sha256" to samplerSha256, "runs" to protocol.executions * protocol.rounds, "warm_up" to 0,
        "evict_mb" to 0, "layout" to if (network.interleaved) "merged" else "planar", // taken apart first, or copied
        "rows" to listOf(linkedMapOf(
            "kernel" to if (device.architecture == "aarch64") "neon" else "portable", "cores" to "any", "core_mhz" to null,
            "threads" to 1, "frames" to 0, "differing_bytes" to null, "worst_levels" to null, "frame_ms" to if (real) times(measured.frames) else null,
            "hottest_celsius" to null, "held_back" to signs.isNotEmpty()
        ))
    )

    private fun spread(of: Spread) = linkedMapOf("median" to of.median, "low" to of.low, "high" to of.high)

    private fun times(of: FrameTimes) = linkedMapOf(
        "min" to of.min, "median" to of.median, "p90" to of.p90, "p99" to of.p99, "max" to of.max, "mean" to of.mean
    )
}
