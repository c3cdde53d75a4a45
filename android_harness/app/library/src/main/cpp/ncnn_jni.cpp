// An avatar's network on ncnn, for org.bilayer.avatar.NcnnNetwork.
#include <jni.h>

#include <string>
#include <vector>

#include <cpu.h>
#include <gpu.h>
#include <net.h>

namespace {

void refuse(JNIEnv *env, const std::string &message) {
    env->ThrowNew(env->FindClass("java/lang/IllegalStateException"), message.c_str());
}

std::string text(JNIEnv *env, jstring given) {
    const char *chars = env->GetStringUTFChars(given, nullptr);
    const std::string copy = chars ? chars : "";
    if (chars) env->ReleaseStringUTFChars(given, chars);
    return copy;
}

}  // namespace

extern "C" JNIEXPORT jstring JNICALL Java_org_bilayer_avatar_NcnnNetwork_ncnnVersion(JNIEnv *env, jobject) {
    return env->NewStringUTF(NCNN_VERSION_STRING);
}

extern "C" JNIEXPORT jlong JNICALL Java_org_bilayer_avatar_NcnnNetwork_open(JNIEnv *env, jobject, jstring param,
                                                                            jstring bin, jboolean gpu) {
#if NCNN_VULKAN
    const bool there = ncnn::get_gpu_count() > 0;
#else
    const bool there = false;
#endif
    if (gpu && !there) return refuse(env, "there is no Vulkan device, or ncnn was built without"), 0;
    auto *net = new ncnn::Net;
    net->opt.use_vulkan_compute = gpu != JNI_FALSE;
    net->opt.use_fp16_packed = net->opt.use_fp16_storage = net->opt.use_fp16_arithmetic = gpu != JNI_FALSE;
    net->opt.use_bf16_storage = false;
    net->opt.num_threads = ncnn::get_big_cpu_count();
    if (net->load_param(text(env, param).c_str()) == 0 && net->load_model(text(env, bin).c_str()) == 0)
        return reinterpret_cast<jlong>(net);
    delete net;
    refuse(env, "ncnn cannot read it, or lacks one of its layers");
    return 0;
}

extern "C" JNIEXPORT jobjectArray JNICALL Java_org_bilayer_avatar_NcnnNetwork_run(JNIEnv *env, jobject, jlong handle,
                                                                                  jfloatArray pose, jint count) {
    const auto *net = reinterpret_cast<const ncnn::Net *>(handle);
    std::vector<float> values(size_t(env->GetArrayLength(pose)));
    env->GetFloatArrayRegion(pose, 0, jsize(values.size()), values.data());
    ncnn::Extractor extractor = net->create_extractor();
    int code = extractor.input("in0", ncnn::Mat(int(values.size()), values.data()));
    jobjectArray results = env->NewObjectArray(count, env->FindClass("[F"), nullptr);
    for (int i = 0; i < count && results && code == 0; ++i) {
        ncnn::Mat found;
        code = extractor.extract(("out" + std::to_string(i)).c_str(), found);
        if (code != 0) break;
        const jsize plane = found.w * found.h;  // ncnn leaves gaps between channels
        const jfloatArray array = env->NewFloatArray(plane * found.c);
        if (!array) return nullptr;
        for (int c = 0; c < found.c; ++c) env->SetFloatArrayRegion(array, plane * c, plane, found.channel(c));
        env->SetObjectArrayElement(results, i, array);
        env->DeleteLocalRef(array);
    }
    if (code != 0) refuse(env, "ncnn failed with code " + std::to_string(code));
    return results;
}

extern "C" JNIEXPORT void JNICALL Java_org_bilayer_avatar_NcnnNetwork_release(JNIEnv *, jobject, jlong handle) {
    delete reinterpret_cast<ncnn::Net *>(handle);
}
