// Draws frames with gles_frame.hpp into memory and reads them back, for test_gles_frame.py: cases in, bytes out.
//
// A case is 16 int32: height and width of the results, the frame, the texture; align_corners, premultiplied, nearest, masked,
// hardware filter, interleaved, 0...; then the texture packed, and the six channels of one tensor, float32.
#include <cstdio>
#include <cstring>
#include <memory>

#include "gles_frame.hpp"

constexpr EGLenum surfaceless = 0x31DD;  // EGL_PLATFORM_SURFACELESS_MESA

int main(int, char **words) {
    using namespace bilayer;
    FILE *in = std::fopen(words[1], "rb"), *out = std::fopen(words[2], "wb");
    const EGLDisplay display = eglGetPlatformDisplay(surfaceless, EGL_DEFAULT_DISPLAY, nullptr);
    int32_t head[16];
    try {
        while (std::fread(head, sizeof head, 1, in) == 1) {
            const int fields = head[0] * head[1], width = head[3], height = head[2];
            std::vector<float> packed(size_t(head[4] + 3) * size_t(head[5] + 3) * 4), layers(size_t(fields) * 6);
            if (std::fread(packed.data(), 4, packed.size(), in) != packed.size()) return 1;
            if (std::fread(layers.data(), 4, layers.size(), in) != layers.size()) return 1;
            GlesScreen screen(display, EGLNativeWindowType{}, width, height);
            std::fprintf(stderr, "%s\n", reinterpret_cast<const char *>(glGetString(GL_RENDERER)));
            GlesFrame frame(packed.data(), head[4], head[5], head[10] ? Filter::hardware : Filter::fetch);
            const uint32_t channel = head[11] ? 1 : uint32_t(fields), pixel = head[11] ? 6 : 1;
            const OutputPlaces places{{0, channel, pixel, 0.25f, 0},
                                      {2 * channel, channel, pixel, 1, 0},
                                      {5 * channel, channel, pixel, 0.5f, 0.5f},
                                      head[9] != 0,
                                      head[0],
                                      head[1]};
            const FrameSettings settings(places, height, width, head[4], head[5], head[6] != 0,
                                         head[7] ? Alpha::premultiplied : Alpha::straight,
                                         head[8] ? Rounding::nearest : Rounding::truncate);
            const Tensor tensor{layers.data(), layers.size()};
            glViewport(0, 0, width, height);
            frame.draw(settings, tensor, tensor, tensor);
            std::vector<uint8_t> rgba(size_t(width) * size_t(height) * 4);
            glReadPixels(0, 0, width, height, GL_RGBA, GL_UNSIGNED_BYTE, rgba.data());
            for (int row = height - 1; row >= 0; --row)  // OpenGL's first row is the lowest
                std::fwrite(rgba.data() + size_t(row) * size_t(width) * 4, 4, size_t(width), out);
        }
    } catch (const std::exception &error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 1;
    }
    return std::fclose(out);
}
