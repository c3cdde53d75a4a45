// One frame through the sampler's object file: ./example [frame.pam]
//
// Prints a checksum of the frame's bytes, which is the same on every processor, and writes the frame as PAM (RGBA).
#include "bilayer_sampler.h"

#include <cstdio>
#include <vector>

int main(int argc, char **argv) {
    const int size = 256;  // of the texture and of the frame
    const int pixels = size * size;

    // What an avatar's bundle holds: its texture, packed once. Here a chequered card.
    std::vector<float> texture(3 * pixels), packed(BILAYER_PACKED_FLOATS(size, size));
    for (int y = 0; y < size; ++y)
        for (int x = 0; x < size; ++x) {
            const float shade = (x / 32 + y / 32) % 2 ? 0.5f : -0.5f;
            texture[0 * pixels + y * size + x] = shade;
            texture[1 * pixels + y * size + x] = shade * x / size;
            texture[2 * pixels + y * size + x] = shade * y / size;
        }
    bilayer_pack_texture(texture.data(), 3, size, size, packed.data());

    // What the network returns on every frame. Here a bulge, a soft light and a round mask.
    std::vector<float> delta_uv(2 * pixels), lf_rgb(3 * pixels), mask(pixels);
    for (int y = 0; y < size; ++y)
        for (int x = 0; x < size; ++x) {
            const float u = (2 * x + 1 - size) / float(size), v = (2 * y + 1 - size) / float(size);
            const float distance = u * u + v * v;
            const int at = y * size + x;
            delta_uv[at] = -0.4f * u * (1 - distance);
            delta_uv[pixels + at] = -0.4f * v * (1 - distance);
            for (int channel = 0; channel < 3; ++channel) lf_rgb[channel * pixels + at] = 0.3f * (u - v);
            mask[at] = 8 * (0.9f - distance);  // clamped to 0..1
        }

    std::vector<uint8_t> frame(4 * pixels);
    bilayer_frame(packed.data(), size, size, delta_uv.data(), lf_rgb.data(), 0, mask.data(), 1, 0, nullptr,
                  frame.data(), size, size, 0, BILAYER_STRAIGHT, 0, 0, size);

    uint64_t checksum = 14695981039346656037u;  // FNV-1a
    for (uint8_t byte : frame) checksum = (checksum ^ byte) * 1099511628211u;
    std::printf("%016llx\n", static_cast<unsigned long long>(checksum));

    if (argc > 1) {
        FILE *file = std::fopen(argv[1], "wb");
        if (!file) {
            std::perror(argv[1]);
            return 1;
        }
        std::fprintf(file, "P7\nWIDTH %d\nHEIGHT %d\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n", size, size);
        const bool written = std::fwrite(frame.data(), 1, frame.size(), file) == frame.size();
        if (std::fclose(file) != 0 || !written) {
            std::perror(argv[1]);
            return 1;
        }
    }
}
