package org.bilayer.sample

import android.app.Application
import org.bilayer.avatar.LiteRtNetwork
import org.bilayer.avatar.core.Bundle
import org.bilayer.avatar.core.Network

@Suppress("UNUSED_PARAMETER")
fun network(application: Application, bundle: Bundle): Network = LiteRtNetwork(bundle)
