// Runs recorded cases through one of the two native samplers: ./driver CASES RESULTS
//
// A case is 13 int32 (see `Header`) and its arrays, as tests/native_sampler.py writes them. Each picture is done in two
// calls, split at a row. With BILAYER_HPP the sampler is android_harness/native/sampler.hpp, else the object file.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#ifdef BILAYER_HPP
#include "sampler.hpp"
#else
#include "bilayer_sampler.h"
#endif

struct Header {
    int32_t frame, texture_height, texture_width, channels, height, width;
    int32_t interleaved, out_interleaved, align_corners, masked_or_over, mode;  // mode: alpha + 2 * nearest
    int32_t result_height, result_width;  // of a frame's delta_uv, lf_rgb and mask; 0: those of the frame
};

template <class T>
std::vector<T> read(FILE *file, size_t count) {
    std::vector<T> values(count);
    if (std::fread(values.data(), sizeof(T), count, file) != count) std::exit(3);
    return values;
}

static void sample(const Header &h, FILE *cases, FILE *results) {
    const size_t pixels = size_t(h.height) * h.width;
    const auto texture = read<float>(cases, size_t(h.channels) * h.texture_height * h.texture_width);
    const auto grid = read<float>(cases, 2 * pixels);
    std::vector<float> out(h.channels * pixels);
    const int split = h.height / 3;
#ifdef BILAYER_HPP
    using namespace bilayer;
    const auto packed = pack_texture(texture.data(), h.channels, h.texture_height, h.texture_width);
    const auto layout = [](int flag) { return flag ? Layout::interleaved : Layout::planar; };
    for (const Rows rows : {Rows{0, split}, Rows{split, h.height}})
        bilayer::sample(packed, grid.data(), layout(h.interleaved), out.data(), layout(h.out_interleaved), h.channels,
                        h.height, h.width, h.align_corners, rows);
#else
    std::vector<float> packed(BILAYER_PACKED_FLOATS(h.texture_height, h.texture_width), 7.0f);
    bilayer_pack_texture(texture.data(), h.channels, h.texture_height, h.texture_width, packed.data());
    const int rows[] = {0, split, h.height};
    for (int part = 0; part < 2; ++part)
        bilayer_sample(packed.data(), h.texture_height, h.texture_width, grid.data(), h.interleaved, out.data(),
                       h.out_interleaved, h.channels, h.height, h.width, h.align_corners, rows[part], rows[part + 1]);
#endif
    std::fwrite(out.data(), sizeof(float), out.size(), results);
}

static void frame(const Header &h, FILE *cases, FILE *results) {
    const size_t pixels = size_t(h.height) * h.width;
    const auto texture = read<float>(cases, size_t(3) * h.texture_height * h.texture_width);
    const size_t values = h.result_height ? size_t(h.result_height) * h.result_width : pixels;
    const auto delta_uv = read<float>(cases, 2 * values), lf_rgb = read<float>(cases, 3 * values);
    const bool masked = h.masked_or_over & 1, over = h.masked_or_over & 2;
    const auto mask = read<float>(cases, masked ? values : 0);
    const auto background = read<uint8_t>(cases, over ? 4 * pixels : 0);
    const float scale = 0.75f, offset = 0.125f;
    std::vector<uint8_t> rgba(4 * pixels);
    const int split = h.height / 3;
#ifdef BILAYER_HPP
    using namespace bilayer;
    const auto packed = pack_texture(texture.data(), 3, h.texture_height, h.texture_width);
    const FrameInputs inputs{delta_uv.data(),
                             lf_rgb.data(),
                             h.interleaved ? Layout::interleaved : Layout::planar,
                             masked ? mask.data() : nullptr,
                             scale,
                             offset,
                             over ? background.data() : nullptr,
                             h.result_height,
                             h.result_width};
    for (const Rows rows : {Rows{0, split}, Rows{split, h.height}})
        compose(packed, inputs, rgba.data(), h.height, h.width, h.align_corners,
                h.mode & 1 ? Alpha::premultiplied : Alpha::straight,
                h.mode & 2 ? Rounding::nearest : Rounding::truncate, rows);
#else
    std::vector<float> packed(BILAYER_PACKED_FLOATS(h.texture_height, h.texture_width), 7.0f);
    bilayer_pack_texture(texture.data(), 3, h.texture_height, h.texture_width, packed.data());
    const int rows[] = {0, split, h.height};
    for (int part = 0; part < 2; ++part)
        if (h.result_height)
            bilayer_resized_frame(packed.data(), h.texture_height, h.texture_width, delta_uv.data(), lf_rgb.data(),
                                  h.interleaved, masked ? mask.data() : nullptr, scale, offset, h.result_height,
                                  h.result_width, over ? background.data() : nullptr, rgba.data(), h.height, h.width,
                                  h.align_corners, h.mode & 1, h.mode >> 1, rows[part], rows[part + 1]);
        else
            bilayer_frame(packed.data(), h.texture_height, h.texture_width, delta_uv.data(), lf_rgb.data(),
                          h.interleaved, masked ? mask.data() : nullptr, scale, offset,
                          over ? background.data() : nullptr, rgba.data(), h.height, h.width, h.align_corners,
                          h.mode & 1, h.mode >> 1, rows[part], rows[part + 1]);
#endif
    std::fwrite(rgba.data(), 1, rgba.size(), results);
}

int main(int, char **argv) {
    FILE *cases = std::fopen(argv[1], "rb"), *results = std::fopen(argv[2], "wb");
    if (!cases || !results) return 1;
    Header header;
    while (std::fread(&header, sizeof header, 1, cases) == 1) (header.frame ? frame : sample)(header, cases, results);
    return std::fclose(results) ? 1 : 0;
}
