// A network's outputs for some frames, as they lie in memory before the sampler gets them.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "files.hpp"
#include "kernels.hpp"

namespace runner {

// planar and interleaved: an array for each output. merged: all outputs are channels of one array (h, w, C), which is how
// SNPE 1.x returns a network with one head; they have to be taken apart first, which then belongs to a frame's work.
class Frames {
   public:
    Frames(const Settings &settings, bool merged, const std::string &delta_uv, const std::string &lf_rgb,
           const std::string &mask)
        : pixels_(size_t(settings.height) * size_t(settings.width)), merged_(merged), masked_(!mask.empty()) {
        delta_uv_ = read_floats(delta_uv, 2 * pixels_, "frame");
        lf_rgb_ = read_floats(lf_rgb, 3 * pixels_, "frame");
        if (masked_) mask_ = read_floats(mask, pixels_, "frame");
        count_ = delta_uv_.size() / (2 * pixels_);
        expect_frames(lf_rgb, lf_rgb_.size() / (3 * pixels_));
        if (masked_) expect_frames(mask, mask_.size() / pixels_);
        if (merged_) merge();
    }

    size_t count() const { return count_; }

    // The inputs of frame `number`; of merged outputs for rows `begin` to `end` alone.
    Planes take(size_t number, int width, int begin, int end) {
        if (merged_) split(number, size_t(begin) * size_t(width), size_t(end) * size_t(width));
        const size_t at = (merged_ ? 0 : number) * pixels_;
        return {delta_uv_.data() + 2 * at, lf_rgb_.data() + 3 * at, masked_ ? mask_.data() + at : nullptr};
    }

   private:
    const size_t pixels_;
    const bool merged_, masked_;
    size_t count_ = 0;
    std::vector<float> delta_uv_, lf_rgb_, mask_;  // of merged outputs only one frame, where it is split to
    std::vector<float> all_;                       // (frames, h, w, channels) if merged

    size_t channels() const { return masked_ ? 6 : 5; }

    void expect_frames(const std::string &path, size_t found) const {
        if (found != count_)
            throw Failure(bad_input, path + ": expected " + std::to_string(count_) +
                                         " frames as in --delta-uv, found " + std::to_string(found));
    }

    void merge() {
        all_.resize(count_ * pixels_ * channels());
        float *to = all_.data();
        for (size_t number = 0; number < count_; ++number)
            for (size_t i = 0; i < pixels_; ++i) {
                for (size_t c = 0; c < 2; ++c) *to++ = delta_uv_[(number * 2 + c) * pixels_ + i];
                for (size_t c = 0; c < 3; ++c) *to++ = lf_rgb_[(number * 3 + c) * pixels_ + i];
                if (masked_) *to++ = mask_[number * pixels_ + i];
            }
        delta_uv_.resize(2 * pixels_), lf_rgb_.resize(3 * pixels_), mask_.resize(masked_ ? pixels_ : 0);
    }

    void split(size_t number, size_t begin, size_t end) {
        const float *from = all_.data() + (number * pixels_ + begin) * channels();
        float *u = delta_uv_.data(), *v = u + pixels_, *red = lf_rgb_.data(), *green = red + pixels_,
              *blue = green + pixels_;
        for (size_t i = begin; i < end; ++i, from += channels()) {
            u[i] = from[0], v[i] = from[1], red[i] = from[2], green[i] = from[3], blue[i] = from[4];
            if (masked_) mask_[i] = from[5];
        }
    }
};

}  // namespace runner
