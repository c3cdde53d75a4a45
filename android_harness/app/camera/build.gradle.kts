plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "org.bilayer.avatar.camera"
    compileSdk = 34
    defaultConfig { minSdk = 26 }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
    kotlinOptions { jvmTarget = "1.8" }
}

dependencies {
    implementation(project(":library"))
    implementation("androidx.camera:camera-camera2:1.3.4")
    implementation("androidx.camera:camera-lifecycle:1.3.4")
    // CameraX gives ListenableFuture to its callers; MediaPipe's guava empties the artifact that CameraX has it from
    implementation("com.google.guava:guava:33.2.1-android")
    implementation("com.google.mediapipe:tasks-vision:0.10.14")
}
