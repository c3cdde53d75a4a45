plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

val backend = project.property("backend").toString()

android {
    namespace = "org.bilayer.sample"
    compileSdk = 34
    defaultConfig {
        applicationId = "org.bilayer.sample"
        minSdk = 26
        targetSdk = 34
        versionCode = 1
        versionName = "0.2.0"
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
    kotlinOptions { jvmTarget = "1.8" }
    androidResources { noCompress += "task" }
}

dependencies {
    implementation(project(":library"))
    implementation(project(":camera"))
    implementation("androidx.activity:activity-ktx:1.9.1")
    if (backend == "snpe") implementation(files(rootProject.file("libs/snpe-release.aar")))
}
