// An avatar's network on ncnn, timed: the route to a phone that needs no SDK of Qualcomm's.
//
// It reads the input lists and writes the results of the other routes' programs: Result_N/TENSOR.raw, float32, NCHW. Its
// log is JSON. Times are told only where they mean something, on a real ARM processor; elsewhere they are null.
#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <fstream>
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
)";

const std::set<std::string> options = {"--param",      "--bin",  "--input-size", "--outputs",  "--input-list",
                                       "--output-dir", "--mode", "--threads",    "--powersave"};

struct Output {
    std::string tensor, blob;
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

std::vector<double> execute_all(const ncnn::Net &net, const Run &run) {
    std::vector<double> us;
    std::set<std::string> seen;
    std::vector<ncnn::Mat> results(run.outputs.size());
    for (size_t number = 0; number < run.inputs.size(); ++number) {
        std::vector<float> values = read_floats(run.inputs[number], run.input_size, "pose");
        if (values.size() != run.input_size) throw Failure(bad_input, run.inputs[number] + ": more than one pose");
        const ncnn::Mat pose(int(values.size()), values.data());
        us.push_back(execute(net, run, pose, results));
        if (!seen.insert(run.inputs[number]).second) continue;
        const std::string place = run.folder + "/Result_" + std::to_string(number);
        mkdir(place.c_str(), 0755);
        for (size_t i = 0; i < results.size(); ++i) {
            const std::vector<float> all = flat(results[i]);
            write_bytes(place + "/" + run.outputs[i].tensor + ".raw", all.data(), all.size() * 4);
        }
    }
    return us;
}

void work(int count, char **words) {
    if (count < 2 || std::string(words[1]) == "--help") {
        std::fputs(help, stdout);
        return;
    }
    const Arguments given(count, words, options);
    const std::string mode = given.one_of("--mode", {"cpu", "cpu-fp16", "vulkan", "vulkan-fp16-hybrid", "vulkan-fp16"});
    const Run run = read_run(given);
    const std::string param = given.text("--param"), bin = given.text("--bin");
    const int threads = int(given.whole("--threads", 0, 0, 64)), powersave = int(given.whole("--powersave", 2, 0, 2));

    const auto begin = std::chrono::steady_clock::now();
    ncnn::set_cpu_powersave(powersave);
    ncnn::PoolAllocator layers, working;  // kept from one execution to the next, as an app would; the net goes first
    ncnn::Net net;
    net.opt = read_options(mode, threads);
    if (!net.opt.use_vulkan_compute) net.opt.blob_allocator = &layers, net.opt.workspace_allocator = &working;
    const std::string device = check_device(mode, net.opt);
    load(net, param, bin);
    const std::chrono::duration<double, std::micro> init = std::chrono::steady_clock::now() - begin;
    const std::vector<double> us = execute_all(net, run);

    const Machine machine = read_machine();
    const bool real = machine.emulation.empty();
    Json json;
    json.open().text("format", "bilayer-ncnn-runner").whole("version", 1).text("ncnn", NCNN_VERSION_STRING);
    put(json, machine);
    json.text("mode", mode).text("device", device).whole("threads", net.opt.num_threads).whole("powersave", powersave);
    json.whole("executions", long(us.size()));
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
