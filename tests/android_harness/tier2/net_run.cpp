// What stands in for snpe-net-run, benchmark_model and executor_runner on the emulated phone: an interpreter of an
// avatar's network, as dumped by graph_dump.py.
//
// A real program for 64-bit ARM that takes snpe-net-run's options, reads input lists and writes Result_N/<tensor>.raw in
// NHWC as SNPE 1.x does. It computes in float, in half storage with float sums (--use_gpu), or in half throughout
// (--gpu_mode float16, with ARM's half-precision instructions). What it writes into its log as a time is invented.
#include <arm_fp16.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

using Names = std::vector<std::string>;
constexpr int invented_us = 31337;  // no duration of anything, as in stand_in_net_run.py

struct Tensor {
    std::vector<int> shape;
    std::vector<float> values;
};
struct Node {
    std::string kind, output;
    float alpha;
    int stride, pad;
    Names inputs;
};
struct Graph {
    std::string input, output;
    std::map<std::string, Tensor> weights;
    std::vector<Node> nodes;
};

[[noreturn]] void fail(const std::string &message) {
    std::fprintf(stderr, "error_code=910; error_message=%s\n", message.c_str());
    std::exit(1);
}

Graph read_graph(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    Graph graph;
    Names order;
    std::string line;
    while (std::getline(file, line) && line != "end") {
        std::istringstream words(line);
        std::string kind, name;
        words >> kind >> name;
        if (kind == "weight") {
            std::vector<int> shape{std::istream_iterator<int>(words), {}};
            graph.weights[name].shape = shape;
            order.push_back(name);
        } else if (kind == "input" || kind == "output") {
            (kind == "input" ? graph.input : graph.output) = name;
        } else {
            Node node{kind, name, 0, 1, 0, {}};
            words >> node.alpha >> node.stride >> node.pad;
            node.inputs.assign(std::istream_iterator<std::string>(words), {});
            graph.nodes.push_back(node);
        }
    }
    for (const auto &name : order) {
        Tensor &weight = graph.weights[name];
        size_t count = 1;
        for (int length : weight.shape) count *= length;
        weight.values.resize(count);
        file.read(reinterpret_cast<char *>(weight.values.data()), count * 4);
    }
    if (!file || line != "end") fail("Model file is invalid.");
    return graph;
}

// Float, half with float sums, or half throughout
struct Float {
    using Sum = float;
    static float stored(float value) { return value; }
    static float add(float sum, float a, float b) { return sum + a * b; }
};
struct Hybrid {
    using Sum = float;
    static float stored(float value) { return float16_t(value); }
    static float add(float sum, float a, float b) { return sum + a * b; }
};
struct Half {
    using Sum = float16_t;
    static float stored(float value) { return float16_t(value); }
    static float16_t add(float16_t sum, float a, float b) { return vfmah_f16(sum, float16_t(a), float16_t(b)); }
};

template <class Kind>
Tensor convolve(const Tensor &x, const Tensor &weight, const Tensor &bias, int stride, int pad, bool transposed) {
    const int inputs = x.shape[1], height = x.shape[2], width = x.shape[3], kernel = weight.shape[2];
    const int outputs = weight.shape[transposed ? 1 : 0], grow = transposed ? stride : 1;  // strides of 1 otherwise
    Tensor y{{1, outputs, height * grow, width * grow}, {}};
    y.values.reserve(size_t(outputs) * y.shape[2] * y.shape[3]);
    for (int o = 0; o < outputs; ++o)
        for (int i = 0; i < y.shape[2]; ++i)
            for (int j = 0; j < y.shape[3]; ++j) {
                typename Kind::Sum sum = bias.values[o];
                for (int a = 0; a < kernel; ++a)
                    for (int b = 0; b < kernel; ++b) {
                        const int row = transposed ? i + pad - a : i - pad + a,
                                  column = transposed ? j + pad - b : j - pad + b;
                        if (row < 0 || column < 0 || row % grow || column % grow) continue;
                        if (row / grow >= height || column / grow >= width) continue;
                        const float *from = &x.values[size_t(row / grow) * width + column / grow];
                        for (int c = 0; c < inputs; ++c) {
                            const size_t at = transposed ? size_t(c) * outputs + o : size_t(o) * inputs + c;
                            sum = Kind::add(sum, from[size_t(c) * height * width],
                                            weight.values[(at * kernel + a) * kernel + b]);
                        }
                    }
                y.values.push_back(sum);
            }
    return y;
}

template <class Kind>
Tensor run_node(const Node &node, const std::vector<const Tensor *> &in) {
    const Tensor &x = *in[0];
    if (node.kind == "Conv" || node.kind == "ConvTranspose")
        return convolve<Kind>(x, *in[1], *in[2], node.stride, node.pad, node.kind == "ConvTranspose");
    if (node.kind == "Gemm") {  // of a row, by a transposed weight: a convolution of one pixel
        const Tensor pixel{{1, int(x.values.size()), 1, 1}, x.values};
        return convolve<Kind>(pixel, {{in[1]->shape[0], in[1]->shape[1], 1, 1}, in[1]->values}, *in[2], 1, 0, false);
    }
    Tensor y = x;
    if (node.kind == "Reshape") {
        y.shape.assign(in[1]->values.begin(), in[1]->values.end());
    } else if (node.kind == "Upsample") {  // nearest, twice as large
        y.shape = {1, x.shape[1], x.shape[2] * 2, x.shape[3] * 2};
        y.values.clear();
        for (int c = 0; c < x.shape[1]; ++c)
            for (int i = 0; i < y.shape[2]; ++i)
                for (int j = 0; j < y.shape[3]; ++j)
                    y.values.push_back(x.values[(size_t(c) * x.shape[2] + i / 2) * x.shape[3] + j / 2]);
    } else {
        for (size_t i = 0; i < y.values.size(); ++i) {
            float &value = y.values[i];
            if (node.kind == "LeakyRelu")
                value = value < 0 ? value * node.alpha : value;
            else if (node.kind == "Tanh")
                value = std::tanh(value);
            else if (node.kind == "Add")
                value += in[1]->values[i];
            else
                fail("Layer " + node.kind + " is not supported.");
        }
    }
    return y;
}

template <class Kind>
Tensor run(const Graph &graph, const std::vector<float> &pose) {
    std::map<std::string, Tensor> values = graph.weights;
    values[graph.input] = {{1, int(pose.size())}, pose};
    for (auto &[name, tensor] : values)
        for (float &value : tensor.values) value = Kind::stored(value);
    for (const Node &node : graph.nodes) {
        std::vector<const Tensor *> inputs;
        for (const auto &name : node.inputs) inputs.push_back(&values.at(name));
        Tensor result = run_node<Kind>(node, inputs);
        for (float &value : result.values) value = Kind::stored(value);
        values[node.output] = std::move(result);
    }
    return values.at(graph.output);
}

void write(const std::string &path, const void *bytes, size_t count) {
    std::ofstream file(path, std::ios::binary);
    if (!file.write(static_cast<const char *>(bytes), count).flush()) fail(path + ": No space left on device");
}

std::vector<float> interleaved(const Tensor &y) {
    const int channels = y.shape[1], pixels = y.shape[2] * y.shape[3];
    std::vector<float> turned(y.values.size());
    for (int c = 0; c < channels; ++c)
        for (int p = 0; p < pixels; ++p) turned[size_t(p) * channels + c] = y.values[size_t(c) * pixels + p];
    return turned;
}

std::vector<float> read_pose(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    std::vector<float> pose(bytes.size() / 4);
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char *>(pose.data()));
    return pose;
}

// benchmark_model's and executor_runner's flags: one input, once whatever they ask, for a time that is invented
int run_one(const std::map<std::string, std::string> &given) {
    const auto flag = [&](const char *name) { return given.count(name) ? given.at(name) : std::string(); };
    const bool litert = given.count("--graph"), gpu = flag("--use_gpu") == "true";
    if (gpu && std::ifstream("/data/local/tmp/no-gpu")) fail("Disallowed CPU fallback detected.");
    const Graph graph = read_graph(flag(litert ? "--graph" : "--model_path"));
    const bool half = flag("--gpu_precision_loss_allowed") == "true" || given.count("--xnnpack_force_fp16");
    const std::string input = flag(litert ? "--input_layer_value_files" : "--inputs");
    const Tensor y = (half ? run<Half> : run<Float>)(graph, read_pose(input.substr(litert ? input.find(':') + 1 : 0)));
    const std::string out = flag(litert ? "--output_filepath" : "--output_file");
    const std::vector<float> values = litert ? interleaved(y) : y.values;
    if (!out.empty()) write(litert ? out : out + "-0.bin", values.data(), values.size() * 4);
    if (litert)
        std::printf(
            "INFO: Explicitly applied %s delegate, and the model graph will be completely executed.\n"
            "INFO: Inference timings in us: Init: %d, First inference: %d, Warmup (avg): %d, Inference (avg): %d\n",
            gpu ? "GPU" : "XNNPACK", invented_us, invented_us, invented_us, invented_us);
    else
        std::printf("I Model loaded in %d ms.\nI Model executed successfully %s time(s) in %d ms.\n", invented_us,
                    flag("--num_executions").c_str(), invented_us);
    return 0;
}

int main(int count, char **words) {
    if (count > 1 && std::string(words[1]).find('=') != std::string::npos) {
        std::map<std::string, std::string> flags;
        for (int i = 1; i < count; ++i) {
            const std::string word = words[i];
            flags[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
        }
        return run_one(flags);
    }
    std::map<std::string, std::string> given;
    for (int i = 1; i < count; ++i) {
        const std::string name = words[i];
        given[name] = name == "--use_gpu" ? "yes" : ++i < count ? words[i] : "";
    }
    const char *libraries = std::getenv("LD_LIBRARY_PATH");
    if (!libraries || !std::ifstream(std::string(libraries) + "/libSNPE.so"))
        fail("CANNOT LINK EXECUTABLE \"snpe-net-run\": library \"libSNPE.so\" not found");
    if (std::ifstream("/data/local/tmp/no-gpu") && given.count("--use_gpu"))
        fail("Target runtime is not available on this platform.");
    const Graph graph = read_graph(given["--container"]);
    const auto execute = !given.count("--use_gpu")          ? run<Float>
                         : given["--gpu_mode"] == "float16" ? run<Half>
                                                            : run<Hybrid>;

    std::ifstream list(given["--input_list"]);
    std::string line;
    std::getline(list, line);
    if (line != "#" + graph.output) fail("Output " + line + " is not found.");
    int number = 0;
    for (; std::getline(list, line); ++number) {
        const std::vector<float> values = interleaved(execute(graph, read_pose(line.substr(line.find(":=") + 2))));
        const std::string folder = given["--output_dir"] + "/Result_" + std::to_string(number);
        mkdir(folder.c_str(), 0755);
        write(folder + "/" + graph.output + ".raw", values.data(), values.size() * 4);
    }
    std::ostringstream log;
    log << "{\"count\": " << number << ", \"level\": \"" << given["--profiling_level"]
        << "\", \"version\": \"interpreter-1\", "
        << "\"us\": " << invented_us << "}\n";
    write(given["--output_dir"] + "/SNPEDiag_0.log", log.str().data(), log.str().size());
}
