// The kernel against a brute force of its own, to be compiled with sanitizers: see test_sanitizers.py.
#include <cmath>
#include <functional>
#include <cstdio>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include "images.hpp"
#include "patches.hpp"
#include "places.hpp"
#include "streams.hpp"

using namespace patchmosaic;

namespace {

struct Case {
    int channels, height, width, patch_size, images;
    Rule rule;
    double precision;
};

// Which row the offset k from r shows: the row itself, -1 for nothing beyond the border, or round the torus.
int seen(int r, int k, int side, bool torus) {
    const int at = r + k;
    if (torus) return ((at % side) + side) % side;
    return at < 0 || at >= side ? -1 : at;
}

bool inside(int r, int side, int radius) { return r >= radius && r < side - radius; }

bool admitted(Rule rule, int p, int q, int side, int radius) {
    switch (rule) {
        case Rule::same_position: return p == q;
        case Rule::same_border: return p == q || (inside(p, side, radius) && inside(q, side, radius));
        case Rule::anywhere: return true;
        case Rule::anywhere_inside: return inside(q, side, radius);
    }
    return false;
}

// Offsets of a window along one axis; on a torus every row is seen once.
std::vector<int> window(int side, int radius, bool torus) {
    std::vector<int> offsets;
    const int count = torus ? std::min(2 * radius + 1, side) : 2 * radius + 1;
    for (int k = 0; k < count; ++k) offsets.push_back(k - radius);
    return offsets;
}

template <class T>
double worst_difference(const Case& c, std::mt19937& random) {
    std::normal_distribution<double> normal;
    const int C = c.channels, H = c.height, W = c.width, radius = c.patch_size / 2, N = c.images;
    const bool torus = c.rule == Rule::anywhere || c.rule == Rule::anywhere_inside;
    std::vector<T> y(C * H * W);
    std::vector<double> m(H * W, -INFINITY), s(H * W, 0.0), v((C + 1) * H * W, 0.0);
    std::vector<uint8_t> images(size_t(N) * C * H * W);
    std::vector<float> floats(images.size());
    for (auto& value : y) value = T(normal(random));
    for (auto& value : images) value = uint8_t(random() % 256);
    for (size_t i = 0; i < images.size(); ++i) floats[i] = float(images[i]) / 127.5f - 1.0f;

    const double anew_within = random() % 2 ? 12.0 : -INFINITY;
    const std::vector<T> centre(C, T(0.25));
    Task<T> task{};
    task.queries = y.data(), task.precision = &c.precision, task.batch = 1;
    task.anew_within = &anew_within, task.centre = centre.data();
    task.channels = C, task.height = H, task.width = W;
    if (random() % 2)
        task.bytes = images.data();
    else
        task.floats = floats.data();
    task.start = 0, task.stop = N;
    task.rule = c.rule, task.patch_size = c.patch_size, task.skip = 80.0, task.threads = 2;
    task.m = m.data(), task.s = s.data(), task.v = v.data();
    const int keep = 3;
    std::vector<double> surprise(H * W, 0.0), squares(H * W, 0.0), image_squares(H * W, 0.0), top(H * W * keep, -INFINITY);
    std::vector<int64_t> source(H * W * keep, -1);
    const bool trace = std::is_same_v<T, double> && random() % 2;
    if (trace) task.trace = {keep, surprise.data(), squares.data(), image_squares.data(), top.data(), source.data()};
    if (c.rule == Rule::same_position && !trace) {
        PATCHMOSAIC_ISA::add_places(task);
    } else if constexpr (std::is_same_v<T, double>) {
        if (trace)
            PATCHMOSAIC_ISA::Patches<T, 0, true>(task).add();
        else if (C == 1)
            PATCHMOSAIC_ISA::Patches<T, 1, false>(task).add();
        else
            PATCHMOSAIC_ISA::Patches<T, 0, false>(task).add();  // any number of channels
    }

    auto phi = [&](int n, int ch, int r, int col) { return double(float(images[((n * C + ch) * H + r) * W + col]) / 127.5f - 1.0f); };
    const auto down = window(H, radius, torus), right = window(W, radius, torus);
    double worst = 0.0;
    for (int p = 0; p < H; ++p) {
        for (int a = 0; a < W; ++a) {
            std::vector<double> logs, values;
            for (int n = 0; n < N; ++n) {
                for (int q = 0; q < H; ++q) {
                    for (int b = 0; b < W; ++b) {
                        if (!admitted(c.rule, p, q, H, radius) || !admitted(c.rule, a, b, W, radius)) continue;
                        double distance = 0.0;
                        for (int i : down) {
                            for (int j : right) {
                                const int pr = seen(p, i, H, torus), pc = seen(a, j, W, torus);
                                const int qr = seen(q, i, H, torus), qc = seen(b, j, W, torus);
                                for (int ch = 0; ch < C; ++ch) {
                                    const double mine = pr < 0 || pc < 0 ? 0.0 : y[(ch * H + pr) * W + pc];
                                    const double theirs = qr < 0 || qc < 0 ? 0.0 : phi(n, ch, qr, qc);
                                    distance += (mine - theirs) * (mine - theirs);
                                }
                            }
                        }
                        logs.push_back(-0.5 * c.precision * distance);
                        values.push_back(phi(n, 0, q, b));
                    }
                }
            }
            const double peak = *std::max_element(logs.begin(), logs.end());
            double total = 0.0, mean = 0.0;
            for (size_t i = 0; i < logs.size(); ++i) {
                total += std::exp(logs[i] - peak);
                mean += std::exp(logs[i] - peak) * values[i];
            }
            worst = std::max(worst, std::fabs(mean / total - v[p * W + a] / s[p * W + a]));
            if (!trace) continue;
            double square = 0.0, farther = 0.0;
            for (double log : logs) square += std::exp(2 * (log - peak)), farther += std::exp(log - peak) * (peak - log);
            const int i = p * W + a;
            worst = std::max(worst, std::fabs(square / total / total - squares[i] / s[i] / s[i]));
            worst = std::max(worst, std::fabs(farther / total + std::log(total) + peak - surprise[i] / s[i] - std::log(s[i]) - m[i]));
            std::sort(logs.begin(), logs.end(), std::greater<>());
            for (int k = 0; k < std::min(keep, int(logs.size())); ++k) worst = std::max(worst, std::fabs(logs[k] - top[i * keep + k]));
        }
    }
    return worst;
}

// Both sums over whole images, few of which end where a vector does.
template <class T>
double worst_image_difference(std::mt19937& random) {
    std::normal_distribution<double> normal;
    const int64_t batch = 1 + int64_t(random() % 6), size = 1 + int64_t(random() % 700), count = 1 + int64_t(random() % 80);
    std::vector<uint8_t> images(count * size);
    std::vector<float> floats(count * size);
    for (auto& value : images) value = uint8_t(random() % 256);
    for (size_t i = 0; i < images.size(); ++i) floats[i] = float(images[i]) / 127.5f - 1.0f;
    std::vector<T> y(batch * size), weights(batch * count);
    for (auto& value : y) value = T(normal(random));
    for (auto& value : weights) value = random() % 2 ? T(0) : T(random() % 100) / 100;
    std::vector<double> half(batch * count), sums(batch * size);
    const bool bytes = random() % 2;
    const std::unique_ptr<bool[]> where(new bool[batch * count]);
    for (int64_t i = 0; i < batch * count; ++i) where[i] = random() % 4 == 0;
    ImageTask task{batch, size, bytes ? images.data() : nullptr, bytes ? nullptr : floats.data(), nullptr, 0, count, nullptr, 2};
    if (random() % 3 == 0) task.where = where.get();
    const auto ask = [&](const auto& kernel) {
        kernel.half_squared_distances(y.data(), half.data());
        kernel.add_weighted(weights.data(), sums.data());
    };
    if constexpr (std::is_same_v<T, double>)
        ask(PATCHMOSAIC_ISA::Images<double, double>(task));
    else if (bytes)
        ask(PATCHMOSAIC_ISA::Images<float, uint8_t>(task));
    else
        ask(PATCHMOSAIC_ISA::Images<float, float>(task));

    double worst = 0.0;
    for (int64_t b = 0; b < batch; ++b) {
        std::vector<double> sum(size);
        for (int64_t n = 0; n < count; ++n) {
            double distance = 0.0;
            for (int64_t i = 0; i < size; ++i) {
                const double phi = floats[n * size + i];
                distance += 0.5 * (y[b * size + i] - phi) * (y[b * size + i] - phi);
                sum[i] += weights[b * count + n] * phi;
            }
            const double expected = task.where && !where[b * count + n] ? 0.0 : distance;
            worst = std::max(worst, std::fabs(half[b * count + n] - expected) / double(size));
        }
        for (int64_t i = 0; i < size; ++i) worst = std::max(worst, std::fabs(sums[b * size + i] - sum[i]) / double(count));
    }
    return worst;
}

// The posterior over whole images as its threads find it, put together.
template <class T>
double worst_stream_difference(std::mt19937& random) {
    std::normal_distribution<double> normal;
    const int64_t batch = 1 + int64_t(random() % 3), size = 1 + int64_t(random() % 700), count = 1 + int64_t(random() % 300);
    const int threads = 1 + int(random() % 3);
    const bool bytes = random() % 2;
    std::vector<uint8_t> images(count * size);
    std::vector<float> floats(count * size);
    for (auto& value : images) value = uint8_t(random() % 256);
    for (size_t i = 0; i < images.size(); ++i) floats[i] = float(images[i]) / 127.5f - 1.0f;
    std::vector<T> y(batch * size);
    for (auto& value : y) value = T(normal(random));
    const std::vector<double> exact(y.begin(), y.end()), precision(batch, 20.0 / double(size)), weight(batch, 0.0);
    std::vector<double> half(batch * count), nearest(batch), anew_within(batch, random() % 2 ? 3.0 : -INFINITY);
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t n = 0; n < count; ++n)
            for (int64_t i = 0; i < size; ++i) half[b * count + n] += 0.5 * (exact[b * size + i] - floats[n * size + i]) * (exact[b * size + i] - floats[n * size + i]);
    for (int64_t b = 0; b < batch; ++b) nearest[b] = random() % 2 ? half[b * count] : INFINITY;

    std::vector<double> found_nearest(threads * batch), found_weight(threads * batch), found_rough(threads * batch), found_sums(threads * batch * size);
    const ImageTask met{batch, size, bytes ? images.data() : nullptr, bytes ? nullptr : floats.data(), nullptr, 0, count, nullptr, threads};
    const StreamTask task{met, precision.data(), nearest.data(), weight.data(), anew_within.data(), 60.0, found_nearest.data(), found_weight.data(), found_rough.data(), found_sums.data()};
    if constexpr (std::is_same_v<T, double>)
        PATCHMOSAIC_ISA::Streams<double, double>(task, y.data(), exact.data()).add();
    else if (bytes)
        PATCHMOSAIC_ISA::Streams<float, uint8_t>(task, y.data(), exact.data()).add();
    else
        PATCHMOSAIC_ISA::Streams<float, float>(task, y.data(), exact.data()).add();

    double worst = 0.0;
    for (int64_t b = 0; b < batch; ++b) {
        const double least = *std::min_element(half.begin() + b * count, half.begin() + (b + 1) * count);
        double total = 0.0, found = 0.0;
        for (int64_t n = 0; n < count; ++n) total += std::exp(precision[b] * (least - half[b * count + n]));
        const auto fade = [&](int thread) { return std::exp(precision[b] * (least - found_nearest[thread * batch + b])); };
        for (int thread = 0; thread < threads; ++thread) found += found_weight[thread * batch + b] * fade(thread);
        worst = std::max(worst, std::fabs(found / total - 1.0));
        for (int64_t i = 0; i < size; ++i) {
            double expected = 0.0, sum = 0.0;
            for (int64_t n = 0; n < count; ++n) expected += std::exp(precision[b] * (least - half[b * count + n])) * floats[n * size + i];
            for (int thread = 0; thread < threads; ++thread) sum += found_sums[(thread * batch + b) * size + i] * fade(thread);
            worst = std::max(worst, std::fabs(sum - expected) / total);
        }
    }
    return worst;
}

}  // namespace

int main() {
    std::mt19937 random(0);
    const Rule rules[] = {Rule::same_position, Rule::same_border, Rule::anywhere, Rule::anywhere_inside};
    double worst = 0.0;
    for (int round = 0; round < 90; ++round) {
        const bool wide = round >= 60;  // places only: rows of more than a vector, more images than are added in float32
        const int height = 1 + int(random() % 9), width = wide ? 14 + int(random() % 22) : 1 + int(random() % 19);
        const int images = wide && round % 3 == 0 ? 130 : 1 + int(random() % 3);
        const Rule rule = wide ? Rule::same_position : rules[round % 4];
        Case c{1 + int(random() % 4), height, width, 1 + 2 * int(random() % (wide ? 20 : 6)), images, rule, 0.3};
        if (c.rule == Rule::anywhere_inside) c.patch_size = std::min(c.patch_size, (std::min(height, width) - 1) / 2 * 2 + 1);
        const bool single = wide && round % 2;  // in float32
        const double difference = single ? worst_difference<float>(c, random) : worst_difference<double>(c, random);
        if (!(difference < (single ? 1e-3 : 1e-9))) {
            std::printf("rule %d, %dx%dx%d, P = %d, float32: %d: %g\n", int(c.rule), c.channels, height, width, c.patch_size, single, difference);
            return 1;
        }
        if (!single) worst = std::max(worst, difference);
    }
    for (int round = 0; round < 40; ++round) {
        const double single = worst_image_difference<float>(random), difference = worst_image_difference<double>(random);
        if (!(single < 1e-5 && difference < 1e-12)) {
            std::printf("whole images: %g in float32, %g in float64\n", single, difference);
            return 1;
        }
        const double single_stream = worst_stream_difference<float>(random), stream = worst_stream_difference<double>(random);
        if (!(single_stream < 2e-5 && stream < 1e-12)) {
            std::printf("a stream of whole images: %g in float32, %g in float64\n", single_stream, stream);
            return 1;
        }
        worst = std::max({worst, difference, stream});
    }
    std::printf("worst difference %.1e\n", worst);
    return 0;
}
