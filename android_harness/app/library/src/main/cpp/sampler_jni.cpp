// The texture sampler of ../../../../../native/sampler.hpp for org.bilayer.avatar.core.NativeSampler.
#include <jni.h>

#include <cstring>

#include "sampler.hpp"

namespace {

void refuse(JNIEnv *env, const char *message) {
    env->ThrowNew(env->FindClass("java/lang/IllegalArgumentException"), message);
}

// An array's floats while this lives; a copy or not, as the machine likes. No other JNI call until it ends.
class Floats {
   public:
    Floats(JNIEnv *env, jfloatArray array)
        : env_(env), array_(array), data_(array ? env->GetPrimitiveArrayCritical(array, nullptr) : nullptr) {}
    ~Floats() {
        if (data_) env_->ReleasePrimitiveArrayCritical(array_, data_, JNI_ABORT);  // nothing was written
    }
    Floats(const Floats &) = delete;
    const float *get() const { return static_cast<const float *>(data_); }

   private:
    JNIEnv *env_;
    jfloatArray array_;
    void *data_;
};

}  // namespace

extern "C" JNIEXPORT jlong JNICALL Java_org_bilayer_avatar_core_NativeSampler_create(JNIEnv *env, jobject,
                                                                                     jfloatArray texels, jint side) {
    if (side < 1 || side > 2048 || env->GetArrayLength(texels) != (side + 3) * (side + 3) * 4) {
        refuse(env, "texture: expected (T + 3, T + 3, 4) numbers");
        return 0;
    }
    auto *texture = new bilayer::PackedTexture{side, side, {}};  // read_texture's layout is the sampler's
    texture->texels.resize(size_t(side + 3) * (side + 3) * 4);
    env->GetFloatArrayRegion(texels, 0, jsize(texture->texels.size()), texture->texels.data());
    return reinterpret_cast<jlong>(texture);
}

extern "C" JNIEXPORT void JNICALL Java_org_bilayer_avatar_core_NativeSampler_compose(
    JNIEnv *env, jobject, jlong handle, jfloatArray delta_uv, jfloatArray lf_rgb, jfloatArray mask, jint image_size,
    jfloat mask_scale, jfloat mask_offset, jboolean align_corners, jboolean premultiplied, jobject rgba,
    jint frame_size) {
    const auto *texture = reinterpret_cast<const bilayer::PackedTexture *>(handle);
    if (image_size < 1 || image_size > 2048 || frame_size < 1 || frame_size > 2048)
        return refuse(env, "expected sides of 1 to 2048");
    const int pixels = image_size * image_size;
    auto *out = static_cast<uint8_t *>(env->GetDirectBufferAddress(rgba));
    if (!out || env->GetDirectBufferCapacity(rgba) < 4 * jlong(frame_size) * frame_size)
        return refuse(env, "rgba: expected a direct buffer");
    if (env->GetArrayLength(delta_uv) != 2 * pixels || env->GetArrayLength(lf_rgb) != 3 * pixels ||
        (mask && env->GetArrayLength(mask) != pixels))
        return refuse(env, "expected 2, 3 and 1 planes of image_size");
    const Floats uv(env, delta_uv), low(env, lf_rgb), alpha(env, mask);
    if (!uv.get() || !low.get() || (mask && !alpha.get())) return;  // out of memory, thrown by the machine
    const bilayer::FrameInputs inputs{uv.get(),    low.get(),  bilayer::Layout::planar,
                                      alpha.get(), mask_scale, mask_offset,
                                      nullptr,     image_size, image_size};
    bilayer::compose(*texture, inputs, out, frame_size, frame_size, align_corners != JNI_FALSE,
                     premultiplied ? bilayer::Alpha::premultiplied : bilayer::Alpha::straight,
                     bilayer::Rounding::truncate, {0, frame_size});
}

extern "C" JNIEXPORT void JNICALL Java_org_bilayer_avatar_core_NativeSampler_lay(JNIEnv *env, jobject, jlong handle,
                                                                                 jfloatArray texels, jint left,
                                                                                 jint top, jint width, jint height) {
    auto *texture = reinterpret_cast<bilayer::PackedTexture *>(handle);
    const jint side = texture->width + 3;
    if (left < 0 || top < 0 || width < 1 || height < 1 || jlong(left) + width > side || jlong(top) + height > side ||
        env->GetArrayLength(texels) != jlong(width) * height * 4)
        return refuse(env, "texels: expected a part of the texture");
    for (jint row = 0; row < height; ++row)
        env->GetFloatArrayRegion(texels, row * width * 4, width * 4,
                                 texture->texels.data() + (size_t(top + row) * size_t(side) + size_t(left)) * 4);
}

extern "C" JNIEXPORT void JNICALL Java_org_bilayer_avatar_core_NativeSampler_destroy(JNIEnv *, jobject, jlong handle) {
    delete reinterpret_cast<bilayer::PackedTexture *>(handle);
}
