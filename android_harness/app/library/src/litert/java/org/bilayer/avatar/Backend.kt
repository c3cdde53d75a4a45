package org.bilayer.avatar

import android.app.Application
import org.bilayer.avatar.core.Bundle
import org.bilayer.avatar.core.Network

/** The network of this build of the library, which -Pbackend= names. */
@Suppress("UNUSED_PARAMETER")
fun builtInNetwork(application: Application, bundle: Bundle): Network = LiteRtNetwork(bundle)
