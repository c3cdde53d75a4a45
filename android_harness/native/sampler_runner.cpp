// What belongs on a phone's CPU, timed there: the sampler's whole frame, from the network's outputs to RGBA bytes.
//
// Raw files in, JSON out, and the frames themselves, by which the Python sampler can tell whether they are right. Times are
// told only where they mean something, on a real ARM processor; elsewhere `frame_us` is null.
#include <chrono>
#include <cstdio>

#include "arguments.hpp"
#include "conditions.hpp"
#include "cores.hpp"
#include "files.hpp"
#include "frames.hpp"
#include "json.hpp"
#include "kernels.hpp"
#include "machine.hpp"
#include "statistics.hpp"
#include "workers.hpp"

namespace {

using namespace runner;

const char *const help = R"(bilayer-sampler-runner: times the sampler's frame on this processor

  --texture FILE          (3, H, W) float32, little-endian
  --texture-size HxW
  --delta-uv FILE         (frames, 2, h, w)
  --lf FILE               (frames, 3, h, w)
  --seg FILE              (frames, h, w); left out: no mask
  --size hxw              of the frame
  --result-size hxw       of those files, resized on the way                          [that of the frame]
  --layout LAYOUT         planar, interleaved: the files hold (h, w, 2) and (h, w, 3); or merged: the files are planar,
                          and every timed frame starts from one array (h, w, 6)       [planar]
  --align-corners 0|1     [0]
  --mask-scale X          [1]
  --mask-offset X         [0]
  --alpha ALPHA           straight, premultiplied                                     [straight]
  --rounding ROUNDING     truncate, nearest                                           [truncate]
  --kernels LIST          portable,neon,numba                                         [all that are in this program]
  --cores CORES           any, little, big, prime, or numbers such as 4,5             [any]
  --threads N             [1]
  --runs N                timed frames of each kernel                                 [100]
  --warm-up N             frames before them                                          [20]
  --evict MB              memory written between two frames, as the network would     [0]
  --sample-ms MS          between two looks at clocks and temperatures                [250]
  --frames FOLDER         write frames there, KERNEL.rgba: (frames, h, w, 4)
  --json FILE             [stdout]
  --sysfs FOLDER          [/sys]
)";

const std::set<std::string> options = {
    "--texture", "--texture-size",  "--delta-uv", "--lf",          "--seg",         "--size",
    "--layout",  "--align-corners", "--alpha",    "--mask-scale",  "--rounding",    "--kernels",
    "--cores",   "--threads",       "--runs",     "--mask-offset", "--result-size", "--warm-up",
    "--evict",   "--frames",        "--json",     "--sysfs",       "--sample-ms"};

struct Timed {
    std::string name;
    std::vector<double> us;
    std::string checksum;
};

Settings read_settings(const Arguments &given) {
    const Arguments::Size texture = given.size("--texture-size"), frame = given.size("--size");
    const Arguments::Size results = given.text("--result-size", "").empty() ? frame : given.size("--result-size");
    return {texture.height,
            texture.width,
            frame.height,
            frame.width,
            results.height,
            results.width,
            given.one_of("--layout", {"planar", "interleaved", "merged"}) == "interleaved",
            given.whole("--align-corners", 0, 0, 1) == 1,
            given.one_of("--alpha", {"straight", "premultiplied"}) == "premultiplied",
            given.one_of("--rounding", {"truncate", "nearest"}) == "nearest",
            float(given.real("--mask-scale", 1)),
            float(given.real("--mask-offset", 0))};
}

std::vector<std::pair<std::string, std::unique_ptr<Kernel>>> make_kernels(const Arguments &given,
                                                                          const Settings &settings,
                                                                          const std::vector<float> &texture) {
    std::vector<std::pair<std::string, std::unique_ptr<Kernel>>> kernels;
    const std::string wanted = given.text("--kernels", "");
    for (const std::string &word : words_of(wanted)) {
        bool known = wanted.empty();
        for (const NamedKernel &one : all_kernels()) known = known || word == one.name;
        if (!known) throw Failure(usage, "--kernels: expected portable, neon or numba, found '" + word + "'");
    }
    for (const NamedKernel &one : all_kernels()) {
        const std::vector<std::string> words = words_of(wanted);
        const bool named = std::find(words.begin(), words.end(), one.name) != words.end();
        if (!wanted.empty() && !named) continue;
        std::unique_ptr<Kernel> kernel = one.make(settings, texture.data());
        if (!kernel && named) throw Failure(missing, std::string("--kernels ") + one.name + ": not in this program");
        if (kernel) kernels.emplace_back(one.name, std::move(kernel));
    }
    return kernels;
}

// Something else in the caches, as after a network has run.
void evict(std::vector<char> &memory) {
    volatile char *bytes = memory.data();  // or the compiler sees that nobody reads them
    for (size_t at = 0; at < memory.size(); at += 64) bytes[at] = char(bytes[at] + 1);
}

Timed time_kernel(const std::string &name, const Kernel &kernel, const Settings &settings, Frames &frames,
                  Workers &workers, int threads, const Arguments &given) {
    const long runs = given.whole("--runs", 100, 1, 100000), warm_up = given.whole("--warm-up", 20, 0, 100000);
    std::vector<char> other(size_t(given.whole("--evict", 0, 0, 256)) << 20);
    std::vector<uint8_t> picture(size_t(settings.height) * size_t(settings.width) * 4);
    const auto frame = [&](size_t number) {
        workers.run([&](int index) {
            const int begin = settings.height * index / threads, end = settings.height * (index + 1) / threads;
            kernel.compose(frames.take(number, index, begin, end), picture.data(), begin, end);
        });
    };
    std::vector<uint8_t> all;
    for (size_t number = 0; number < frames.count(); ++number) {
        frame(number);
        all.insert(all.end(), picture.begin(), picture.end());
    }
    const std::string folder = given.text("--frames", "");
    if (!folder.empty()) write_bytes(folder + "/" + name + ".rgba", all.data(), all.size());
    Timed timed{name, {}, checksum(all)};
    timed.us.reserve(size_t(runs));
    for (long turn = -warm_up; turn < runs; ++turn) {
        evict(other);
        const auto begin = std::chrono::steady_clock::now();
        frame(size_t(turn + warm_up) % frames.count());
        const std::chrono::duration<double, std::micro> passed = std::chrono::steady_clock::now() - begin;
        if (turn >= 0) timed.us.push_back(passed.count());
    }
    return timed;
}

std::string describe(const Arguments &given, const Settings &settings, const Frames &frames, const Machine &machine,
                     const std::vector<Core> &cores, const std::vector<int> &used, const std::vector<Timed> &kernels,
                     const ConditionLog &log) {
    Json json;
    json.open().text("format", "bilayer-sampler-runner").whole("version", 1);
    put(json, machine);
    json.open_list("cores");
    for (const Core &core : cores)
        json.open()
            .whole("core", core.number)
            .number("max_mhz", double(core.max_khz) / 1000)
            .text("kind", core.kind)
            .close();
    json.close()
        .open("used")
        .text("cores", given.text("--cores", "any"))
        .whole("threads", given.whole("--threads", 1, 1, 64));
    json.open_list("pinned");
    for (const int core : used) json.whole(nullptr, core);
    json.close().close();
    json.open("frame").whole("height", settings.height).whole("width", settings.width);
    json.whole("result_height", settings.result_height).whole("result_width", settings.result_width);
    json.whole("texture_height", settings.texture_height).whole("texture_width", settings.texture_width);
    json.whole("frames", long(frames.count())).text("layout", given.text("--layout", "planar")).close();
    json.open("protocol").whole("runs", given.whole("--runs", 100, 1, 100000));
    json.whole("warm_up", given.whole("--warm-up", 20, 0, 100000))
        .whole("evict_mb", given.whole("--evict", 0, 0, 256))
        .close();
    json.open_list("kernels");
    for (const Timed &kernel : kernels) {
        json.open().text("name", kernel.name).text("checksum", kernel.checksum);
        if (machine.emulation.empty())
            put(json, "frame_us", statistics(kernel.us));
        else
            json.nothing("frame_us");
        json.close();
    }
    json.close();
    log.put_into(json);
    return json.close().content() + "\n";
}

void work(int count, char **words) {
    if (count < 2 || std::string(words[1]) == "--help") {
        std::fputs(help, stdout);
        return;
    }
    const Arguments given(count, words, options);
    const Settings settings = read_settings(given);
    const std::string sysfs = given.text("--sysfs", "/sys"), json_path = given.text("--json", "");
    const int threads = int(given.whole("--threads", 1, 1, 64));
    const int every = int(given.whole("--sample-ms", 250, 10, 60000));
    const size_t texels = size_t(settings.texture_height) * size_t(settings.texture_width);
    const std::vector<float> texture = read_floats(given.text("--texture"), 3 * texels, "texture");
    if (texture.size() != 3 * texels)
        throw Failure(bad_input, given.text("--texture") + ": more than one texture of --texture-size");
    Frames frames(settings, given.text("--layout", "planar") == "merged", threads, given.text("--delta-uv"),
                  given.text("--lf"), given.text("--seg", ""));
    const auto kernels = make_kernels(given, settings, texture);
    const std::vector<Core> cores = read_cores(sysfs);
    const std::vector<int> used = choose_cores(cores, given.text("--cores", "any"), threads);

    ConditionLog log(sysfs, cores, every);
    std::vector<Timed> timed;
    Workers workers(threads, used);
    for (const auto &[name, kernel] : kernels)
        timed.push_back(time_kernel(name, *kernel, settings, frames, workers, threads, given));
    log.stop();

    const std::string text = describe(given, settings, frames, read_machine(), cores, used, timed, log);
    if (json_path.empty())
        std::fputs(text.c_str(), stdout);
    else
        write_bytes(json_path, text.data(), text.size());
}

}  // namespace

int main(int count, char **words) {
    return runner::ending([&] { work(count, words); });
}
