// Frames of an avatar by OpenGL ES 3.1, from a network's tensors to the screen: the pixels never come back to the CPU.
//
// The shader is runtime/sampler/shaders/frame.wgsl. All of it belongs to the thread of a current context.
#pragma once

#include <EGL/egl.h>
#include <GLES3/gl31.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "frame_settings.hpp"
#include "frame_shaders.hpp"

namespace bilayer {

enum class Filter { fetch, hardware };  // four fetches blended in float32, or the texture unit's own

// Numbers of a network in memory.
struct Tensor {
    const float *values;
    size_t count;
};

namespace gles {

inline GLuint compiled(GLenum kind, const char *source) {
    const GLuint shader = glCreateShader(kind);
    glShaderSource(shader, 1, &source, nullptr);
    glCompileShader(shader);
    GLint good = 0;
    glGetShaderiv(shader, GL_COMPILE_STATUS, &good);
    if (good) return shader;
    char said[512] = "";
    glGetShaderInfoLog(shader, sizeof said, nullptr, said);
    glDeleteShader(shader);
    throw std::runtime_error(std::string("the GPU's driver refuses the frame shader: ") + said);
}

inline GLuint linked(const char *fragment_source) {
    const GLuint vertex = compiled(GL_VERTEX_SHADER, frame_vertex);
    const GLuint fragment = compiled(GL_FRAGMENT_SHADER, fragment_source), program = glCreateProgram();
    glAttachShader(program, vertex), glAttachShader(program, fragment);
    glLinkProgram(program);
    glDeleteShader(vertex), glDeleteShader(fragment);  // kept by the program
    GLint good = 0;
    glGetProgramiv(program, GL_LINK_STATUS, &good);
    if (good) return program;
    glDeleteProgram(program);
    throw std::runtime_error("the GPU's driver cannot link the frame shader");
}

// The nearest number in half precision: drivers round as they like, Mesa's down.
inline uint16_t half_of(float value) {
    const float size = std::fmin(std::fabs(value), 65504.0f);
    const int power = std::max(std::ilogb(size), -14);  // the least of it, which zero and what is smaller have, too
    const auto steps = int(std::nearbyint(std::ldexp(size, 10 - power)));  // 1024 to 2048, of which 2048 carries
    return uint16_t((std::signbit(value) ? 0x8000 : 0) + (power + 14) * 1024 + steps);
}

inline std::vector<uint16_t> halves_of(const float *values, size_t count) {
    std::vector<uint16_t> halves(count);
    std::transform(values, values + count, halves.begin(), half_of);
    return halves;
}

}  // namespace gles

class GlesFrame {
   public:
    // `packed` as pack_texture makes it, (height + 3, width + 3, 4).
    GlesFrame(const float *packed, int height, int width, Filter filter) : filter_(filter) {
        GLint blocks = 0, side = 0;
        glGetIntegerv(GL_MAX_FRAGMENT_SHADER_STORAGE_BLOCKS, &blocks);
        glGetIntegerv(GL_MAX_TEXTURE_SIZE, &side);
        if (blocks < 3) throw std::runtime_error("the GPU has no buffers for fragment shaders");
        if (height + 3 > side || width + 3 > side) throw std::runtime_error("the texture is too large for the GPU");
        program_ = gles::linked(filter == Filter::fetch ? frame_fetched : frame_filtered);
        glGenBuffers(4, buffers_);
        glGenTextures(1, &texture_);
        glGenVertexArrays(1, &nothing_);
        glBindTexture(GL_TEXTURE_2D, texture_);
        // Any GPU filters half-precision texels, few those in float32
        if (filter == Filter::fetch) {
            glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA32F, width + 3, height + 3, 0, GL_RGBA, GL_FLOAT, packed);
        } else {
            const auto halves = gles::halves_of(packed, size_t(width + 3) * size_t(height + 3) * 4);
            glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA16F, width + 3, height + 3, 0, GL_RGBA, GL_HALF_FLOAT, halves.data());
        }
        const GLint way = filter == Filter::fetch ? GL_NEAREST : GL_LINEAR;
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, way);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, way);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
    }
    ~GlesFrame() {
        glDeleteProgram(program_);
        glDeleteBuffers(4, buffers_);
        glDeleteTextures(1, &texture_);
        glDeleteVertexArrays(1, &nothing_);
    }
    GlesFrame(const GlesFrame &) = delete;

    // Lays texels (height, width, 4) into the packed texture, from row `top` and column `left` on.
    void lay(const float *texels, int left, int top, int width, int height) {
        glBindTexture(GL_TEXTURE_2D, texture_);
        if (filter_ == Filter::fetch) {
            glTexSubImage2D(GL_TEXTURE_2D, 0, left, top, width, height, GL_RGBA, GL_FLOAT, texels);
        } else {
            const auto halves = gles::halves_of(texels, size_t(width) * size_t(height) * 4);
            glTexSubImage2D(GL_TEXTURE_2D, 0, left, top, width, height, GL_RGBA, GL_HALF_FLOAT, halves.data());
        }
    }

    // Into the current framebuffer's viewport. Outputs of one tensor are given it three times; it goes to the GPU once.
    // Without a mask `seg` is any of the others.
    void draw(const FrameSettings &settings, Tensor delta_uv, Tensor lf_rgb, Tensor seg) {
        const Tensor tensors[3] = {delta_uv, lf_rgb, seg};
        for (GLuint i = 0; i < 3; ++i) {
            GLuint from = i;
            for (GLuint j = 0; j < i && from == i; ++j)
                if (tensors[j].values == tensors[i].values) from = j;
            if (from == i) {
                glBindBuffer(GL_SHADER_STORAGE_BUFFER, buffers_[i]);
                glBufferData(GL_SHADER_STORAGE_BUFFER, GLsizeiptr(tensors[i].count * sizeof(float)), tensors[i].values,
                             GL_STREAM_DRAW);
            }
            glBindBufferBase(GL_SHADER_STORAGE_BUFFER, 1 + i, buffers_[from]);
        }
        glBindBuffer(GL_UNIFORM_BUFFER, buffers_[3]);
        glBufferData(GL_UNIFORM_BUFFER, sizeof settings, &settings, GL_STREAM_DRAW);
        glBindBufferBase(GL_UNIFORM_BUFFER, 4, buffers_[3]);
        glActiveTexture(GL_TEXTURE5);
        glBindTexture(GL_TEXTURE_2D, texture_);
        glUseProgram(program_);
        glBindVertexArray(nothing_);
        glDisable(GL_BLEND), glDisable(GL_DITHER), glDisable(GL_DEPTH_TEST);
        glDrawArrays(GL_TRIANGLES, 0, 3);
        if (glGetError() != GL_NO_ERROR) throw std::runtime_error("the GPU could not draw the frame");
    }

    Filter filter() const { return filter_; }

   private:
    const Filter filter_;
    GLuint program_ = 0, texture_ = 0, nothing_ = 0, buffers_[4] = {};
};

// A context of OpenGL ES 3.1 and what it draws into: a window, or memory of a size where there is none.
class GlesScreen {
   public:
    GlesScreen(EGLDisplay display, EGLNativeWindowType window, int width, int height) : display_(display) {
        const EGLint wanted[] = {EGL_RENDERABLE_TYPE,
                                 EGL_OPENGL_ES3_BIT,
                                 EGL_SURFACE_TYPE,
                                 window ? EGL_WINDOW_BIT : EGL_PBUFFER_BIT,
                                 EGL_RED_SIZE,
                                 8,
                                 EGL_GREEN_SIZE,
                                 8,
                                 EGL_BLUE_SIZE,
                                 8,
                                 EGL_ALPHA_SIZE,
                                 8,
                                 EGL_NONE};
        const EGLint version[] = {EGL_CONTEXT_MAJOR_VERSION, 3, EGL_CONTEXT_MINOR_VERSION, 1, EGL_NONE};
        const EGLint size[] = {EGL_WIDTH, width, EGL_HEIGHT, height, EGL_NONE};
        EGLConfig config = nullptr;
        EGLint count = 0;
        if (!eglInitialize(display_, nullptr, nullptr) || !eglBindAPI(EGL_OPENGL_ES_API) ||
            !eglChooseConfig(display_, wanted, &config, 1, &count) || count == 0)
            throw std::runtime_error("no OpenGL ES with 8 bits a channel");
        context_ = eglCreateContext(display_, config, EGL_NO_CONTEXT, version);
        surface_ = window ? eglCreateWindowSurface(display_, config, window, nullptr)
                          : eglCreatePbufferSurface(display_, config, size);
        if (context_ != EGL_NO_CONTEXT && surface_ != EGL_NO_SURFACE &&
            eglMakeCurrent(display_, surface_, surface_, context_))
            return;
        release();
        throw std::runtime_error("no OpenGL ES 3.1");
    }
    ~GlesScreen() { release(); }
    GlesScreen(const GlesScreen &) = delete;

    // The largest square in the middle is drawn into from now on; the rest is clear.
    void frame_square() {
        EGLint width = 0, height = 0;
        eglQuerySurface(display_, surface_, EGL_WIDTH, &width);
        eglQuerySurface(display_, surface_, EGL_HEIGHT, &height);
        const EGLint side = std::min(width, height);
        glClearColor(0, 0, 0, 0);
        glClear(GL_COLOR_BUFFER_BIT);
        glViewport((width - side) / 2, (height - side) / 2, side, side);
    }

    bool show() { return eglSwapBuffers(display_, surface_) == EGL_TRUE; }

   private:
    EGLDisplay display_;
    EGLContext context_ = EGL_NO_CONTEXT;
    EGLSurface surface_ = EGL_NO_SURFACE;

    void release() {
        eglMakeCurrent(display_, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
        if (surface_ != EGL_NO_SURFACE) eglDestroySurface(display_, surface_);
        if (context_ != EGL_NO_CONTEXT) eglDestroyContext(display_, context_);
    }
};

}  // namespace bilayer
