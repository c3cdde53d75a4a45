// JSON, written as it comes.
#pragma once

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace runner {

class Json {
   public:
    Json &open(const char *key = nullptr) { return begin(key, '{'); }
    Json &open_list(const char *key = nullptr) { return begin(key, '['); }
    Json &close() {
        text_ += ends_.back();
        ends_.pop_back();
        first_ = false;
        return *this;
    }
    Json &text(const char *key, const std::string &value) { return put(key, quoted(value)); }
    Json &whole(const char *key, long value) { return put(key, std::to_string(value)); }
    Json &nothing(const char *key) { return put(key, "null"); }
    Json &truth(const char *key, bool value) { return put(key, value ? "true" : "false"); }
    Json &number(const char *key, double value) {
        if (!std::isfinite(value)) return nothing(key);
        char digits[40];
        std::snprintf(digits, sizeof digits, "%.3f", value);
        return put(key, digits);
    }
    const std::string &content() const { return text_; }

   private:
    std::string text_, ends_;
    bool first_ = true;

    Json &begin(const char *key, char bracket) {
        put(key, std::string(1, bracket));
        ends_ += bracket == '{' ? '}' : ']';
        first_ = true;
        return *this;
    }
    Json &put(const char *key, const std::string &value) {
        if (!first_) text_ += ", ";
        if (key) text_ += quoted(key) + ": ";
        text_ += value;
        first_ = false;
        return *this;
    }
    // What a kernel or a file may say: bytes beyond ASCII become a question mark.
    static std::string quoted(const std::string &value) {
        std::string out = "\"";
        for (const char c : value) {
            if (c == '"' || c == '\\') out += '\\';
            out += c >= ' ' && c <= '~' ? c : '?';
        }
        return out + '"';
    }
};

}  // namespace runner
