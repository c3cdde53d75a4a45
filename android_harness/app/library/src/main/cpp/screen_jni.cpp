// Frames on a surface, by ../../../../../native/gles_frame.hpp, for org.bilayer.avatar.core.NativeScreen.
#include <jni.h>

#include <memory>

#include "gles_frame.hpp"

#ifdef __ANDROID__
#include <android/native_window_jni.h>
#endif

namespace {

using namespace bilayer;

void refuse(JNIEnv *env, const char *kind, const char *message) { env->ThrowNew(env->FindClass(kind), message); }

constexpr char wrong[] = "java/lang/IllegalArgumentException", unable[] = "java/lang/IllegalStateException";

// A window while this lives; none of a null surface, and none where there is no Android.
class Window {
   public:
#ifdef __ANDROID__
    Window(JNIEnv *env, jobject surface) : window_(surface ? ANativeWindow_fromSurface(env, surface) : nullptr) {}
    ~Window() {
        if (window_) ANativeWindow_release(window_);
    }
#else
    Window(JNIEnv *, jobject) : window_() {}
#endif
    Window(const Window &) = delete;
    EGLNativeWindowType get() const { return window_; }

   private:
    EGLNativeWindowType window_;
};

struct Screen {
    Window window;  // goes last
    GlesScreen target;
    GlesFrame frame;
    int texture_side, side;

    Screen(JNIEnv *env, jobject surface, const float *packed, int texture, int frame_side, Filter filter)
        : window(env, surface),
          target(eglGetDisplay(EGL_DEFAULT_DISPLAY), window.get(), frame_side, frame_side),
          frame(packed, texture, texture, filter),
          texture_side(texture),
          side(frame_side) {}
};

// An array's numbers, copied: OpenGL may take its time with them.
class Numbers {
   public:
    Numbers(JNIEnv *env, jfloatArray array)
        : env_(env), array_(array), data_(env->GetFloatArrayElements(array, nullptr)) {}
    ~Numbers() {
        if (data_) env_->ReleaseFloatArrayElements(array_, data_, JNI_ABORT);
    }
    Numbers(const Numbers &) = delete;
    Tensor tensor() const { return {data_, size_t(env_->GetArrayLength(array_))}; }

   private:
    JNIEnv *env_;
    jfloatArray array_;
    jfloat *data_;
};

}  // namespace

extern "C" JNIEXPORT jlong JNICALL Java_org_bilayer_avatar_core_NativeScreen_create(JNIEnv *env, jobject,
                                                                                    jfloatArray texels,
                                                                                    jint texture_side, jobject surface,
                                                                                    jint side, jboolean hardware) {
    if (texture_side < 1 || texture_side > 2048 || side < 1 || side > 2048 ||
        env->GetArrayLength(texels) != (texture_side + 3) * (texture_side + 3) * 4) {
        refuse(env, wrong, "texture: expected (T + 3, T + 3, 4) numbers");
        return 0;
    }
    const Numbers packed(env, texels);
    if (!packed.tensor().values) return 0;  // out of memory, thrown by the machine
    try {
        return reinterpret_cast<jlong>(new Screen(env, surface, packed.tensor().values, texture_side, side,
                                                  hardware ? Filter::hardware : Filter::fetch));
    } catch (const std::exception &error) {
        refuse(env, unable, error.what());
        return 0;
    }
}

extern "C" JNIEXPORT void JNICALL Java_org_bilayer_avatar_core_NativeScreen_draw(
    JNIEnv *env, jobject, jlong handle, jfloatArray delta_uv, jfloatArray lf_rgb, jfloatArray seg, jintArray places,
    jfloatArray affine, jboolean masked, jint image_size, jint frame_size, jboolean align_corners) {
    auto *screen = reinterpret_cast<Screen *>(handle);
    if (env->GetArrayLength(places) != 9 || env->GetArrayLength(affine) != 6 || image_size < 1 || image_size > 2048 ||
        frame_size < 1 || frame_size > 2048)
        return refuse(env, wrong, "expected three outputs' places, and sides of 1 to 2048");
    jint at[9];
    jfloat change[6];
    env->GetIntArrayRegion(places, 0, 9, at);
    env->GetFloatArrayRegion(affine, 0, 6, change);
    OutputPlaces outputs{{}, {}, {}, masked != JNI_FALSE, image_size, image_size};
    Place *const parts[3] = {&outputs.delta_uv, &outputs.lf_rgb, &outputs.seg};
    const jfloatArray arrays[3] = {delta_uv, lf_rgb, seg};
    const jlong channels[3] = {2, 3, 1}, pixels = jlong(image_size) * image_size;
    for (int i = 0; i < 3; ++i) {
        *parts[i] = {uint32_t(at[3 * i]), uint32_t(at[3 * i + 1]), uint32_t(at[3 * i + 2]), change[2 * i],
                     change[2 * i + 1]};
        const jlong last = jlong(at[3 * i]) + (channels[i] - 1) * at[3 * i + 1] + (pixels - 1) * at[3 * i + 2];
        if (at[3 * i] < 0 || at[3 * i + 1] < 0 || at[3 * i + 2] < 1 || last >= env->GetArrayLength(arrays[i]))
            return refuse(env, wrong, "an output lies outside of its tensor");
    }
    // One array for all three goes to the GPU once
    const Numbers first(env, delta_uv);
    const std::unique_ptr<Numbers> second(env->IsSameObject(lf_rgb, delta_uv) ? nullptr : new Numbers(env, lf_rgb)),
        third(env->IsSameObject(seg, delta_uv) ? nullptr : new Numbers(env, seg));
    const Tensor uv = first.tensor(), low = second ? second->tensor() : uv, mask = third ? third->tensor() : uv;
    if (!uv.values || !low.values || !mask.values) return;
    const FrameSettings settings(outputs, frame_size, frame_size, screen->texture_side, screen->texture_side,
                                 align_corners != JNI_FALSE, Alpha::premultiplied, Rounding::truncate);
    try {
        screen->target.frame_square();
        screen->frame.draw(settings, uv, low, mask);
        if (!screen->target.show()) throw std::runtime_error("the surface is gone");
    } catch (const std::exception &error) {
        refuse(env, unable, error.what());
    }
}

extern "C" JNIEXPORT void JNICALL Java_org_bilayer_avatar_core_NativeScreen_lay(JNIEnv *env, jobject, jlong handle,
                                                                                jfloatArray texels, jint left, jint top,
                                                                                jint width, jint height) {
    auto *screen = reinterpret_cast<Screen *>(handle);
    const jlong side = screen->texture_side + 3;
    if (left < 0 || top < 0 || width < 1 || height < 1 || jlong(left) + width > side || jlong(top) + height > side ||
        env->GetArrayLength(texels) != jlong(width) * height * 4)
        return refuse(env, wrong, "texels: expected a part of the texture");
    const Numbers numbers(env, texels);
    if (numbers.tensor().values) screen->frame.lay(numbers.tensor().values, left, top, width, height);
}

extern "C" JNIEXPORT void JNICALL Java_org_bilayer_avatar_core_NativeScreen_read(JNIEnv *env, jobject, jlong handle,
                                                                                 jobject rgba) {
    const auto *screen = reinterpret_cast<const Screen *>(handle);
    auto *out = static_cast<uint8_t *>(env->GetDirectBufferAddress(rgba));
    const size_t pitch = size_t(screen->side) * 4;
    if (!out || env->GetDirectBufferCapacity(rgba) < jlong(pitch) * screen->side)
        return refuse(env, wrong, "rgba: expected a direct buffer");
    for (int row = 0; row < screen->side; ++row)  // OpenGL's first row is the lowest
        glReadPixels(0, screen->side - 1 - row, screen->side, 1, GL_RGBA, GL_UNSIGNED_BYTE, out + size_t(row) * pitch);
}

extern "C" JNIEXPORT void JNICALL Java_org_bilayer_avatar_core_NativeScreen_destroy(JNIEnv *, jobject, jlong handle) {
    delete reinterpret_cast<Screen *>(handle);
}
