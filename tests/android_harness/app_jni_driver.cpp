// The app's native sampler, called through JNI's table of functions by hand: what a machine for Java would do, on any
// processor. driver NUMBERS FRAME TEXTURE_SIDE IMAGE_SIDE FRAME_SIDE ALIGN_CORNERS
#include <jni.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

extern "C" {
jlong Java_org_bilayer_avatar_core_NativeSampler_create(JNIEnv *, jobject, jfloatArray, jint);
void Java_org_bilayer_avatar_core_NativeSampler_compose(JNIEnv *, jobject, jlong, jfloatArray, jfloatArray, jfloatArray,
                                                        jint, jfloat, jfloat, jboolean, jboolean, jobject, jint);
void Java_org_bilayer_avatar_core_NativeSampler_lay(JNIEnv *, jobject, jlong, jfloatArray, jint, jint, jint, jint);
void Java_org_bilayer_avatar_core_NativeSampler_destroy(JNIEnv *, jobject, jlong);
}

namespace {

// Stands for an array or a direct buffer of Java's.
class Block : public _jfloatArray {
   public:
    std::vector<float> values;
};

int thrown = 0;

Block *of(jobject object) { return static_cast<Block *>(static_cast<_jfloatArray *>(object)); }

jfloatArray read(FILE *file, size_t count) {
    auto *block = new Block;
    block->values.resize(count);
    if (std::fread(block->values.data(), 4, count, file) != count) std::exit(1);
    return block;
}

JNINativeInterface_ table() {
    JNINativeInterface_ functions{};
    functions.FindClass = [](JNIEnv *, const char *) { return static_cast<jclass>(nullptr); };
    functions.ThrowNew = [](JNIEnv *, jclass, const char *) { return jint(++thrown); };
    functions.GetArrayLength = [](JNIEnv *, jarray array) { return jsize(of(array)->values.size()); };
    functions.GetFloatArrayRegion = [](JNIEnv *, jfloatArray array, jsize start, jsize count, jfloat *to) {
        std::memcpy(to, of(array)->values.data() + start, size_t(count) * 4);
    };
    functions.GetPrimitiveArrayCritical = [](JNIEnv *, jarray array, jboolean *) {
        return static_cast<void *>(of(array)->values.data());
    };
    functions.ReleasePrimitiveArrayCritical = [](JNIEnv *, jarray, void *, jint) {};
    functions.GetDirectBufferAddress = [](JNIEnv *, jobject buffer) {
        return static_cast<void *>(of(buffer)->values.data());
    };
    functions.GetDirectBufferCapacity = [](JNIEnv *, jobject buffer) { return jlong(4 * of(buffer)->values.size()); };
    return functions;
}

}  // namespace

int main(int, char **words) {
    const int texture = std::atoi(words[3]), image = std::atoi(words[4]), side = std::atoi(words[5]);
    const size_t pixels = size_t(image) * size_t(image);
    const JNINativeInterface_ functions = table();
    JNIEnv env{&functions};
    FILE *numbers = std::fopen(words[1], "rb");
    const jfloatArray texels = read(numbers, size_t(texture + 3) * size_t(texture + 3) * 4);
    const jfloatArray uv = read(numbers, 2 * pixels), low = read(numbers, 3 * pixels), seg = read(numbers, pixels);
    Block rgba;
    rgba.values.resize(size_t(side) * size_t(side));
    const jlong sampler = Java_org_bilayer_avatar_core_NativeSampler_create(&env, nullptr, texels, texture);
    const auto compose = [&](jfloatArray mask, jint frame) {
        Java_org_bilayer_avatar_core_NativeSampler_compose(&env, nullptr, sampler, uv, low, mask, image, 1, 0,
                                                           jboolean(std::atoi(words[6])), JNI_TRUE, &rgba, frame);
    };
    Block part;
    part.values.assign(of(uv)->values.begin(), of(uv)->values.begin() + 48);
    const auto lay = [&](jint left) {
        Java_org_bilayer_avatar_core_NativeSampler_lay(&env, nullptr, sampler, &part, left, 2, 3, 4);
    };
    lay(3);
    compose(seg, side);
    if (thrown) return 1;
    lay(texture + 1);
    lay(-1);
    Java_org_bilayer_avatar_core_NativeSampler_create(&env, nullptr, uv, texture);
    compose(uv, side);
    compose(seg, side + 1);
    std::printf("refused %d of 5\n", thrown);
    Java_org_bilayer_avatar_core_NativeSampler_destroy(&env, nullptr, sampler);
    FILE *out = std::fopen(words[2], "wb");
    std::fwrite(rgba.values.data(), 4, rgba.values.size(), out);
    return std::fclose(out);
}
