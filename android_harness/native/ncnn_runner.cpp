// An avatar's network on ncnn, timed: the route to a phone that needs no SDK of Qualcomm's.
//
// It reads the input lists and writes the results of the other routes' programs: Result_N/TENSOR.raw, float32, NCHW. Its
// log is JSON. Times are told only where they mean something, on a real ARM processor; elsewhere they are null.
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <set>

#include <cpu.h>
#include <gpu.h>
#include <net.h>

#include "arguments.hpp"
#include "files.hpp"
#include "json.hpp"
#include "machine.hpp"
#include "statistics.hpp"
#if NCNN_VULKAN
#include "vulkan_frame.hpp"
#endif

namespace {

using namespace runner;

const char *const help = R"(bilayer-ncnn-runner: runs an avatar's network on ncnn

  --param FILE, --bin FILE  the network, as pnnx makes it; its input is in0
  --input-size N            numbers of a pose
  --outputs LIST            TENSOR=BLOB with commas between, such as layers=out0
  --input-list FILE         a line NAME:=FILE for each execution
  --output-dir FOLDER       gets ncnn.json, and Result_N/TENSOR.raw when an input comes for the first time
  --mode MODE               cpu, cpu-fp16, vulkan, vulkan-fp16-hybrid (half storage, float arithmetic), vulkan-fp16   [cpu]
  --threads N               of the CPU; 0: as many as there are big cores                                        [0]
  --powersave N             0: all cores, 1: the little ones, 2: the big ones                                    [2]

Vulkan modes can draw frames of the results, which then stay on the GPU: an execution ends with the frame there, and
Result_N gets frame.rgba alone, straight colours, read back outside of its time.

  --draw LIST               RESULT=TENSOR:START:SCALE:OFFSET with commas between, of delta_uv, lf_rgb and, if any, seg
  --texture FILE            (3, H, W)
  --texture-size HxW, --frame-size HxW
  --align-corners N         0 or 1                                                                               [0]
)";

const std::set<std::string> options = {
    "--param",   "--bin",       "--input-size", "--outputs", "--input-list",   "--output-dir", "--mode",
    "--threads", "--powersave", "--draw",       "--texture", "--texture-size", "--frame-size", "--align-corners"};

struct Output {
    std::string tensor, blob;
};

// A result of the network's, as channels of one of its outputs.
struct Result {
    int output = -1, start = 0;
    float scale = 1, offset = 0;
};

struct Run {
    std::vector<std::string> inputs;  // files
    std::vector<Output> outputs;
    size_t input_size;
    std::string folder;
};

// In words by which the harness knows that a device lacks something, and leaves the mode out.
Failure unavailable(const std::string &mode, const std::string &why) {
    return Failure(missing, "mode " + mode + ": runtime is not available: " + why);
}

ncnn::Option read_options(const std::string &mode, int threads) {
    ncnn::Option option;
    const bool half = mode == "cpu-fp16" || mode == "vulkan-fp16" || mode == "vulkan-fp16-hybrid";
    option.use_fp16_packed = option.use_fp16_storage = half;
    option.use_fp16_arithmetic = half && mode != "vulkan-fp16-hybrid";
    option.use_bf16_storage = false;
    option.use_vulkan_compute = mode.rfind("vulkan", 0) == 0;
    option.num_threads = threads > 0 ? threads : std::max(1, ncnn::get_big_cpu_count());
    return option;
}

// What the mode runs on, by its name; fails where there is none, for ncnn would silently take something else.
std::string check_device(const std::string &mode, const ncnn::Option &option) {
    if (!option.use_vulkan_compute) {
#if defined(__aarch64__)
        if (option.use_fp16_arithmetic && !ncnn::cpu_support_arm_asimdhp())
            throw unavailable(mode, "this processor has no half-precision arithmetic");
#else
        if (option.use_fp16_arithmetic) throw unavailable(mode, "this processor has no half-precision arithmetic");
#endif
        return "CPU, " + std::to_string(option.num_threads) + " threads";
    }
#if NCNN_VULKAN
    if (ncnn::get_gpu_count() == 0) throw unavailable(mode, "there is no Vulkan device");
    const ncnn::GpuInfo &gpu = ncnn::get_gpu_info();
    if (option.use_fp16_arithmetic && !gpu.support_fp16_arithmetic())
        throw unavailable(mode, std::string(gpu.device_name()) + " has no half-precision arithmetic");
    if (option.use_fp16_storage && !(gpu.support_fp16_storage() && gpu.support_fp16_packed()))
        throw unavailable(mode, std::string(gpu.device_name()) + " has no half-precision storage");
    return gpu.device_name();
#else
    throw unavailable(mode, "ncnn was built without Vulkan");
#endif
}

Run read_run(const Arguments &given) {
    Run run{{}, {}, size_t(given.whole("--input-size", 136, 1, 1 << 20)), given.text("--output-dir")};
    const std::string list = given.text("--input-list");
    std::ifstream file(list);
    if (!file) throw Failure(bad_input, list + ": cannot be read: " + reason());
    for (std::string line; std::getline(file, line);) {
        const size_t sign = line.find(":=");
        if (sign == std::string::npos) throw Failure(bad_input, list + ": expected NAME:=FILE, found '" + line + "'");
        run.inputs.push_back(line.substr(sign + 2));
    }
    if (run.inputs.empty()) throw Failure(bad_input, list + ": has no inputs");
    for (const std::string &word : words_of(given.text("--outputs"))) {
        const size_t sign = word.find('=');
        if (sign == std::string::npos || word.find('/') != std::string::npos)
            throw Failure(usage, "--outputs: expected TENSOR=BLOB, found '" + word + "'");
        run.outputs.push_back({word.substr(0, sign), word.substr(sign + 1)});
    }
    return run;
}

void load(ncnn::Net &net, const std::string &param, const std::string &bin) {
    if (net.load_param(param.c_str()) != 0)
        throw Failure(bad_input, param + ": ncnn cannot read it, or lacks one of its layers");
    if (net.load_model(bin.c_str()) != 0) throw Failure(bad_input, bin + ": ncnn cannot read it");
}

// As one array: ncnn leaves gaps between channels.
std::vector<float> flat(const ncnn::Mat &mat) {
    std::vector<float> values;
    for (int c = 0; c < mat.c; ++c) {
        const float *plane = mat.channel(c);
        values.insert(values.end(), plane, plane + size_t(mat.w) * size_t(mat.h));
    }
    return values;
}

// One execution: from a pose in memory to all outputs in memory.
double execute(const ncnn::Net &net, const Run &run, const ncnn::Mat &pose, std::vector<ncnn::Mat> &results) {
    const auto begin = std::chrono::steady_clock::now();
    ncnn::Extractor extractor = net.create_extractor();
    int code = extractor.input("in0", pose);
    for (size_t i = 0; i < run.outputs.size() && code == 0; ++i)
        code = extractor.extract(run.outputs[i].blob.c_str(), results[i]);
    const std::chrono::duration<double, std::micro> passed = std::chrono::steady_clock::now() - begin;
    if (code != 0)
        throw Failure(bad_input,
                      "ncnn failed with code " + std::to_string(code) + "; are these the network's outputs?");
    return passed.count();
}

using Execute = std::function<double(const ncnn::Mat &)>;     // one execution, in microseconds
using Keep = std::function<void(const std::string &folder)>;  // writes what it gave

std::vector<double> execute_all(const Run &run, const Execute &execution, const Keep &keep) {
    std::vector<double> us;
    std::set<std::string> seen;
    for (size_t number = 0; number < run.inputs.size(); ++number) {
        std::vector<float> values = read_floats(run.inputs[number], run.input_size, "pose");
        if (values.size() != run.input_size) throw Failure(bad_input, run.inputs[number] + ": more than one pose");
        us.push_back(execution(ncnn::Mat(int(values.size()), values.data())));
        if (!seen.insert(run.inputs[number]).second) continue;
        const std::string place = run.folder + "/Result_" + std::to_string(number);
        mkdir(place.c_str(), 0755);
        keep(place);
    }
    return us;
}

std::vector<double> execute_tensors(const ncnn::Net &net, const Run &run) {
    std::vector<ncnn::Mat> results(run.outputs.size());
    return execute_all(
        run, [&](const ncnn::Mat &pose) { return execute(net, run, pose, results); },
        [&](const std::string &place) {
            for (size_t i = 0; i < results.size(); ++i) {
                const std::vector<float> all = flat(results[i]);
                write_bytes(place + "/" + run.outputs[i].tensor + ".raw", all.data(), all.size() * 4);
            }
        });
}

#if NCNN_VULKAN
// Kept from one execution to the next, and by the outputs that stay on the GPU.
class VulkanMemory {
   public:
    VulkanMemory(ncnn::Option &option, bool wanted) : device_(wanted ? ncnn::get_gpu_device() : nullptr) {
        if (!device_) return;
        blobs_ = option.blob_vkallocator = option.workspace_vkallocator = device_->acquire_blob_allocator();
        staging_ = option.staging_vkallocator = device_->acquire_staging_allocator();
    }
    ~VulkanMemory() {
        if (!device_) return;
        device_->reclaim_blob_allocator(blobs_);
        device_->reclaim_staging_allocator(staging_);
    }
    VulkanMemory(const VulkanMemory &) = delete;

   private:
    ncnn::VulkanDevice *device_;
    ncnn::VkAllocator *blobs_ = nullptr, *staging_ = nullptr;
};

// delta_uv, lf_rgb and seg of --draw; without a mask the last has no output.
std::array<Result, 3> read_results(const Arguments &given, const Run &run) {
    std::array<Result, 3> results;
    const char *const names[3] = {"delta_uv", "lf_rgb", "seg"};
    for (const std::string &word : words_of(given.text("--draw"))) {
        char name[64] = "", tensor[256] = "";
        Result result;
        const int found = std::sscanf(word.c_str(), "%63[^=]=%255[^:]:%d:%f:%f", name, tensor, &result.start,
                                      &result.scale, &result.offset);
        const auto at = std::find_if(names, names + 3, [&](const char *one) { return std::string(one) == name; });
        for (size_t i = 0; i < run.outputs.size(); ++i)
            if (run.outputs[i].tensor == tensor) result.output = int(i);
        if (found != 5 || at == names + 3 || result.output < 0 || result.start < 0)
            throw Failure(usage,
                          "--draw: expected RESULT=TENSOR:START:SCALE:OFFSET of --outputs, found '" + word + "'");
        results[size_t(at - names)] = result;
    }
    if (results[0].output < 0 || results[1].output < 0) throw Failure(usage, "--draw: expected delta_uv and lf_rgb");
    return results;
}

VulkanFrame make_frame(const Arguments &given, const std::array<Result, 3> &results, const ncnn::Net &net) {
    const Arguments::Size size = given.size("--texture-size"), frame = given.size("--frame-size");
    const size_t texels = size_t(size.height) * size_t(size.width);
    const std::vector<float> texture = read_floats(given.text("--texture"), 3 * texels, "texture");
    const auto place = [](const Result &of) { return bilayer::Place{0, 0, 1, of.scale, of.offset}; };
    const bilayer::OutputPlaces places{
        place(results[0]), place(results[1]), place(results[2]), results[2].output >= 0, 1, 1};
    const bilayer::FrameSettings settings(places, frame.height, frame.width, size.height, size.width,
                                          given.whole("--align-corners", 0, 0, 1) != 0, bilayer::Alpha::straight,
                                          bilayer::Rounding::truncate);
    return {net.vulkan_device(), net.opt, bilayer::pack_texture(texture.data(), 3, size.height, size.width), settings};
}

// One execution: from a pose in memory to a frame on the GPU.
double execute_frame(const ncnn::Net &net, const Run &run, const std::array<Result, 3> &results, const ncnn::Mat &pose,
                     VulkanFrame &frame) {
    const auto begin = std::chrono::steady_clock::now();
    ncnn::Extractor extractor = net.create_extractor();
    ncnn::VkCompute command(net.vulkan_device());
    int code = extractor.input("in0", pose);
    std::vector<ncnn::VkMat> tensors(run.outputs.size());
    for (size_t i = 0; i < tensors.size() && code == 0; ++i)
        code = extractor.extract(run.outputs[i].blob.c_str(), tensors[i], command);
    if (code != 0)
        throw Failure(bad_input,
                      "ncnn failed with code " + std::to_string(code) + "; are these the network's outputs?");
    const auto tensor = [&](int i) {
        return tensors[size_t(results[size_t(i)].output < 0 ? results[0].output : results[size_t(i)].output)];
    };
    frame.record(command, {tensor(0), tensor(1), tensor(2)}, {results[0].start, results[1].start, results[2].start});
    if (command.submit_and_wait() != 0) throw Failure(bad_input, "the GPU could not draw the frame");
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

std::vector<double> execute_frames(const Arguments &given, const ncnn::Net &net, const Run &run) {
    const std::array<Result, 3> results = read_results(given, run);
    VulkanFrame frame = make_frame(given, results, net);
    return execute_all(
        run, [&](const ncnn::Mat &pose) { return execute_frame(net, run, results, pose, frame); },
        [&](const std::string &place) {
            const std::vector<uint8_t> bytes = frame.read();
            write_bytes(place + "/frame.rgba", bytes.data(), bytes.size());
        });
}
#endif

void work(int count, char **words) {
    if (count < 2 || std::string(words[1]) == "--help") {
        std::fputs(help, stdout);
        return;
    }
    const Arguments given(count, words, options);
    const std::string mode = given.one_of("--mode", {"cpu", "cpu-fp16", "vulkan", "vulkan-fp16-hybrid", "vulkan-fp16"});
    const Run run = read_run(given);
    const std::string param = given.text("--param"), bin = given.text("--bin");
    const bool drawn = !given.text("--draw", "").empty();
    if (drawn && mode.rfind("vulkan", 0) != 0) throw Failure(usage, "--draw: needs a Vulkan mode");
    const int threads = int(given.whole("--threads", 0, 0, 64)), powersave = int(given.whole("--powersave", 2, 0, 2));

    const auto begin = std::chrono::steady_clock::now();
    ncnn::set_cpu_powersave(powersave);
    ncnn::PoolAllocator layers, working;  // kept from one execution to the next, as an app would; the net goes first
    ncnn::Net net;
    net.opt = read_options(mode, threads);
    if (!net.opt.use_vulkan_compute) net.opt.blob_allocator = &layers, net.opt.workspace_allocator = &working;
    const std::string device = check_device(mode, net.opt);
#if NCNN_VULKAN
    const VulkanMemory memory(net.opt, drawn);
    const auto draw = execute_frames;
#else
    const auto draw = [](const Arguments &, const ncnn::Net &, const Run &) { return std::vector<double>(); };
#endif
    load(net, param, bin);
    const std::chrono::duration<double, std::micro> init = std::chrono::steady_clock::now() - begin;
    const std::vector<double> us = drawn ? draw(given, net, run) : execute_tensors(net, run);

    const Machine machine = read_machine();
    const bool real = machine.emulation.empty();
    Json json;
    json.open().text("format", "bilayer-ncnn-runner").whole("version", 1).text("ncnn", NCNN_VERSION_STRING);
    put(json, machine);
    json.text("mode", mode)
        .text("device", device)

        .whole("threads", net.opt.num_threads)
        .whole("powersave", powersave);
    json.whole("executions", long(us.size()));
    if (drawn) json.truth("drawn", true);  // the harness asks for results, and knows no such field
    if (real) {
        put(json, "total_us", statistics(us));
        json.number("init_us", init.count());
    } else {
        json.nothing("total_us").nothing("init_us");
    }
    const std::string text = json.close().content() + "\n";
    write_bytes(run.folder + "/ncnn.json", text.data(), text.size());
}

}  // namespace

int main(int count, char **words) {
    return runner::ending([&] { work(count, words); });
}
