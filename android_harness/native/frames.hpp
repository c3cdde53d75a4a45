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
    Frames(const Settings &settings, bool merged, int threads, const std::string &delta_uv, const std::string &lf_rgb,
           const std::string &mask)
        : settings_(settings),
          pixels_(size_t(settings.result_height) * size_t(settings.result_width)),
          merged_(merged),
          masked_(!mask.empty()) {
        outputs_.delta_uv = read_floats(delta_uv, 2 * pixels_, "frame");
        outputs_.lf_rgb = read_floats(lf_rgb, 3 * pixels_, "frame");
        if (masked_) outputs_.mask = read_floats(mask, pixels_, "frame");
        count_ = outputs_.delta_uv.size() / (2 * pixels_);
        expect_frames(lf_rgb, outputs_.lf_rgb.size() / (3 * pixels_));
        if (masked_) expect_frames(mask, outputs_.mask.size() / pixels_);
        if (merged_) merge(size_t(threads));
    }

    size_t count() const { return count_; }

    // The inputs of frame `number`, rows `begin` to `end` of which thread `index` draws; merged ones for those alone.
    Planes take(size_t number, int index, int begin, int end) {
        if (!merged_) return planes(outputs_, number);
        Outputs &parts = parts_[size_t(index)];
        const int high = settings_.result_height, frame = settings_.height;
        if (high != frame)  // a row of the frame lies between two of the outputs
            begin = std::max(0, begin * high / frame - 1), end = std::min(high, end * high / frame + 2);
        split(number, parts, size_t(begin) * size_t(settings_.result_width),
              size_t(end) * size_t(settings_.result_width));
        return planes(parts, 0);
    }

   private:
    struct Outputs {
        std::vector<float> delta_uv, lf_rgb, mask;
    };

    const Settings settings_;
    const size_t pixels_;
    const bool merged_, masked_;
    size_t count_ = 0;
    Outputs outputs_;             // of all frames
    std::vector<float> all_;      // (frames, h, w, channels) if merged
    std::vector<Outputs> parts_;  // what each thread has taken apart of one frame

    size_t channels() const { return masked_ ? 6 : 5; }

    Planes planes(const Outputs &outputs, size_t number) const {
        const size_t at = number * pixels_;
        return {outputs.delta_uv.data() + 2 * at, outputs.lf_rgb.data() + 3 * at,
                masked_ ? outputs.mask.data() + at : nullptr};
    }

    void expect_frames(const std::string &path, size_t found) const {
        if (found != count_)
            throw Failure(bad_input, path + ": expected " + std::to_string(count_) +
                                         " frames as in --delta-uv, found " + std::to_string(found));
    }

    void merge(size_t threads) {
        all_.resize(count_ * pixels_ * channels());
        float *to = all_.data();
        for (size_t number = 0; number < count_; ++number)
            for (size_t i = 0; i < pixels_; ++i) {
                for (size_t c = 0; c < 2; ++c) *to++ = outputs_.delta_uv[(number * 2 + c) * pixels_ + i];
                for (size_t c = 0; c < 3; ++c) *to++ = outputs_.lf_rgb[(number * 3 + c) * pixels_ + i];
                if (masked_) *to++ = outputs_.mask[number * pixels_ + i];
            }
        outputs_.delta_uv.resize(2 * pixels_), outputs_.lf_rgb.resize(3 * pixels_);
        outputs_.mask.resize(masked_ ? pixels_ : 0);
        parts_.assign(threads, outputs_);
    }

    void split(size_t number, Outputs &parts, size_t begin, size_t end) const {
        const float *from = all_.data() + (number * pixels_ + begin) * channels();
        float *u = parts.delta_uv.data(), *v = u + pixels_, *red = parts.lf_rgb.data(), *green = red + pixels_,
              *blue = green + pixels_;
        for (size_t i = begin; i < end; ++i, from += channels()) {
            u[i] = from[0], v[i] = from[1], red[i] = from[2], green[i] = from[3], blue[i] = from[4];
            if (masked_) parts.mask[i] = from[5];
        }
    }
};

}  // namespace runner
