plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
}

val backend = project.property("backend").toString()
val snpe = rootProject.file("libs/snpe-release.aar") // the user's, from Qualcomm's SDK

android {
    namespace = "org.bilayer.avatar"
    compileSdk = 34
    defaultConfig {
        minSdk = 26
        ndk { abiFilters += "arm64-v8a" }
        externalNativeBuild {
            cmake {
                arguments += "-DCMAKE_BUILD_TYPE=Release"
                if (backend == "ncnn") arguments += "-Dncnn_DIR=${project.property("ncnnDir")}"
            }
        }
    }
    sourceSets["main"].java.srcDir("src/$backend/java")
    externalNativeBuild { cmake { path = file("src/main/cpp/CMakeLists.txt") } }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
    kotlinOptions { jvmTarget = "1.8" }
}

dependencies {
    if (backend == "litert") {
        implementation("com.google.ai.edge.litert:litert:1.4.0")
        implementation("com.google.ai.edge.litert:litert-gpu:1.4.0")
        implementation("com.google.ai.edge.litert:litert-gpu-api:1.4.0")
    }
    if (backend == "snpe") compileOnly(files(snpe)) // an app brings it: a library cannot hold another
}
