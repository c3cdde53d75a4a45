// Frames of an avatar on ncnn's Vulkan device: from the network's outputs, which stay there, by frame_compute.
#pragma once

#include <gpu.h>
#include <net.h>
#include <pipeline.h>

#include <cstring>
#include <vector>

#include "errors.hpp"
#include "frame_settings.hpp"
#include "frame_shaders.hpp"

namespace runner {

// ncnn's options with numbers as they are: the warp is float32 whatever the network is computed in.
inline ncnn::Option plain_options(ncnn::Option option) {
    option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = false;
    option.use_bf16_storage = option.use_packing_layout = false;
    return option;
}

class VulkanFrame {
   public:
    // `option` with its allocators; the texture as pack_texture makes it. Settings' places are filled in by `record`.
    VulkanFrame(const ncnn::VulkanDevice *device, const ncnn::Option &option, const bilayer::PackedTexture &texture,
                const bilayer::FrameSettings &settings)
        : device_(device), option_(plain_options(option)), pipeline_(device), settings_(settings) {
        std::vector<uint32_t> spirv;
        const std::string source = bilayer::frame_compute;
        pipeline_.set_local_size_xyz(8, 8, 1);
        if (ncnn::compile_spirv_module(source.data(), int(source.size()), option_, spirv) != 0 ||
            pipeline_.create(spirv.data(), spirv.size() * sizeof(uint32_t), {}) != 0)
            throw Failure(missing, "the frame shader: this device does not take it");
        ncnn::VkCompute command(device_);
        upload(command, texture.texels.data(), texture.texels.size(), texels_);
        command.submit_and_wait();
        frame_.create(int(settings.frame[0] * settings.frame[1]), 4u, 1, option_.blob_vkallocator);
    }

    // Of the results delta_uv, lf_rgb and seg, whichever tensors they are channels of; in the order of `places`.
    void record(ncnn::VkCompute &command, const ncnn::VkMat (&results)[3], const int (&starts)[3]) {
        ncnn::VkMat plain[3];
        for (int i = 0; i < 3; ++i) {
            for (int j = 0; j < i && plain[i].empty(); ++j)
                if (results[j].data == results[i].data) plain[i] = plain[j];
            if (plain[i].empty()) device_->convert_packing(results[i], plain[i], 1, /*float32*/ 1, command, option_);
            const uint32_t channel = uint32_t(plain[i].cstep);  // ncnn leaves gaps between channels
            settings_.places[i][0] = uint32_t(starts[i]) * channel, settings_.places[i][1] = channel;
            settings_.places[i][2] = 1;
        }
        settings_.fields[0] = uint32_t(plain[0].w), settings_.fields[1] = uint32_t(plain[0].h);
        float words[sizeof settings_ / 4];
        std::memcpy(words, &settings_, sizeof settings_);
        ncnn::VkMat settings;
        upload(command, words, sizeof settings_ / 4, settings);
        const ncnn::Mat extent(int(settings_.frame[0]), int(settings_.frame[1]), 1, static_cast<void *>(nullptr));
        command.record_pipeline(&pipeline_, {frame_, plain[0], plain[1], plain[2], settings, texels_}, {}, {}, extent);
    }

    // The frame's bytes, for those who want them here: an app shows them from where they are.
    std::vector<uint8_t> read() const {
        ncnn::VkCompute command(device_);
        ncnn::Mat words;
        command.record_clone(frame_, words, option_);
        command.submit_and_wait();
        std::vector<uint8_t> bytes(size_t(words.w) * 4);
        std::memcpy(bytes.data(), words.data, bytes.size());
        return bytes;
    }

   private:
    const ncnn::VulkanDevice *device_;
    const ncnn::Option option_;
    ncnn::Pipeline pipeline_;
    bilayer::FrameSettings settings_;
    ncnn::VkMat texels_, frame_;

    void upload(ncnn::VkCompute &command, const float *values, size_t count, ncnn::VkMat &to) const {
        const ncnn::Mat mat(int(count), const_cast<float *>(values), 4u);  // is only read
        command.record_clone(mat, to, option_);
    }
};

}  // namespace runner
