// Threads that share one piece of work over and over, as an app's would: they sleep in between.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "cores.hpp"

namespace runner {

class Workers {
   public:
    // The calling thread is the first of them. With `cores`, thread i stays on cores[i].
    Workers(int threads, const std::vector<int> &cores) : cores_(cores) {
        if (!cores_.empty()) pin(cores_[0]);
        for (int index = 1; index < threads; ++index) others_.emplace_back([this, index] { serve(index); });
        try {
            run([](int) {});  // all have started and are where they should be
        } catch (...) {
            stop();
            throw;
        }
    }
    ~Workers() { stop(); }
    Workers(const Workers &) = delete;
    Workers &operator=(const Workers &) = delete;

    // Calls part(0) to part(threads - 1), each on its own thread, and waits for all.
    void run(const std::function<void(int)> &part) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            part_ = &part, turn_ += 1, busy_ = others_.size();
        }
        begin_.notify_all();
        part(0);
        std::unique_lock<std::mutex> lock(mutex_);
        end_.wait(lock, [this] { return busy_ == 0; });
        if (error_) std::rethrow_exception(error_);
    }

   private:
    std::vector<int> cores_;
    std::vector<std::thread> others_;
    std::mutex mutex_;
    std::condition_variable begin_, end_;
    const std::function<void(int)> *part_ = nullptr;
    std::exception_ptr error_;
    size_t turn_ = 0, busy_ = 0;
    bool over_ = false;

    void serve(int index) {
        std::exception_ptr error;
        try {
            if (!cores_.empty()) pin(cores_[size_t(index)]);
        } catch (...) {
            error = std::current_exception();
        }
        size_t seen = 0;
        std::unique_lock<std::mutex> lock(mutex_);
        while (true) {
            begin_.wait(lock, [&] { return over_ || turn_ != seen; });
            if (over_) return;
            seen = turn_;
            const std::function<void(int)> *part = part_;
            lock.unlock();
            if (!error) (*part)(index);
            lock.lock();
            if (error) error_ = error;
            if (--busy_ == 0) end_.notify_one();
        }
    }

    void stop() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            over_ = true;
        }
        begin_.notify_all();
        for (std::thread &other : others_)
            if (other.joinable()) other.join();
    }
};

}  // namespace runner
