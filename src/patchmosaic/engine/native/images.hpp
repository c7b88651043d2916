// Whole images against queries: half of their squared distances, and weighted sums of them. Numbers lie along the vectors, as they
// do in memory.
//
//     one pair    an image is met where it lies, and it is asked for the next one meanwhile
//     blocks      images are widened once for many queries, to a panel that stays in the first-level cache, and the sums of
//                 4 queries by 4 images (distances), or by 4 vectors (weighted sums), are kept in registers; with AVX2 by 2
//
// Few queries have a loop of their own, made of the same parts: streams.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include <omp.h>

#include "buffer.hpp"
#include "simd.hpp"
#include "task.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

// In float32 bytes are met as 0 ... 255 by queries on that scale: they are exact, and need not be converted. In float64 images are
// met as the numbers they mean.
template <class T, class KEPT>
class Images {
    using V = vec<T>;
    static constexpr int L = Lanes<T>::count;

    // Sums of T lane by lane, which are passed on to float64 after so many numbers of an image, or so many images.
    typedef double wide __attribute__((vector_size(8 * L)));
    static constexpr int stretch = 32 * L, crowd = 64;

    // In registers: the sums of so many queries by so many images, or vectors.
    static constexpr int queries_at_once = 4, images_at_once = register_bytes == 64 ? 4 : 2, vectors_at_once = images_at_once;
    static constexpr int together = 16;  // images in a panel

  public:
    static constexpr bool bytes = std::is_same_v<KEPT, uint8_t>;
    static constexpr double slope = bytes ? 1 / 127.5 : 1, offset = bytes ? -1 : 0;  // number = slope * kept + offset

    explicit Images(const ImageTask& task)
        : task_(task),
          padded_((task.size + L - 1) / L * L),
          queries_((task.batch + queries_at_once - 1) / queries_at_once * queries_at_once),
          few_(task.batch < queries_at_once),
          in_place_(!std::is_same_v<T, double> && task.size == padded_) {}

    // To `half` (B, stop - start), where they are asked for. Differences are squared, not products: nothing cancels.
    void half_squared_distances(const T* queries, double* half) const {
        const Buffer<T> y = prepared(queries);
        few_ || task_.where ? distances_one_by_one(y, half) : distances_in_blocks(y, half);
    }

    // Queries on the scale of what is kept, in whole vectors, and some more that nobody asks.
    Buffer<T> prepared(const T* queries) const {
        Buffer<T> y(queries_ * padded_);
        for (int64_t b = 0; b < task_.batch; ++b)
            for (int64_t i = 0; i < task_.size; ++i) y[b * padded_ + i] = T((double(queries[b * task_.size + i]) - offset) / slope);
        return y;
    }

    int64_t padded() const { return padded_; }
    bool in_place() const { return in_place_; }

    // To `sums` (B, size), images times their weights (B, stop - start). Those that weigh nothing are not read.
    void add_weighted(const T* weights, double* sums) const {
        const int64_t B = task_.batch, count = task_.stop - task_.start;
        std::vector<uint8_t> weighs(count);
        std::vector<double> all(B);  // of each query's weights
        for (int64_t b = 0; b < B; ++b)
            for (int64_t n = 0; n < count; ++n) weighs[n] |= weights[b * count + n] != 0, all[b] += weights[b * count + n];
        std::vector<int64_t> heavy;
        for (int64_t n = 0; n < count; ++n)
            if (weighs[n]) heavy.push_back(n);
        Buffer<T> packed(heavy.size() * queries_);  // for each image, its weights
        for (size_t i = 0; i < heavy.size(); ++i)
            for (int64_t b = 0; b < B; ++b) packed[i * queries_ + b] = weights[b * count + heavy[i]];

        constexpr int64_t width = vectors_at_once * L;
#pragma omp parallel num_threads(task_.threads)
        {
            Buffer<double> mine(queries_ * width);
            Buffer<T> panel(crowd * width);
            Buffer<KEPT> copy(width);
#pragma omp for schedule(static)
            for (int64_t k = 0; k < padded_; k += width) {
                const int64_t here = std::min(width, padded_ - k);
                std::fill_n(static_cast<double*>(mine), queries_ * width, 0.0);
                for (size_t first = 0; first < heavy.size(); first += crowd) {
                    const int images = int(std::min<size_t>(crowd, heavy.size() - first));
                    for (int i = 0; i < images; ++i) widen(heavy[first + i], k, here, copy, panel + i * width);
                    for (int64_t b = 0; b < queries_; b += queries_at_once) add(panel, packed + first * queries_ + b, images, mine + b * width);
                }
                const int64_t numbers = std::min(width, task_.size - k);
                for (int64_t b = 0; b < B; ++b)
                    for (int64_t i = 0; i < numbers; ++i) sums[b * task_.size + k + i] += slope * mine[b * width + i] + offset * all[b];
            }
        }
    }

    // ---- one image

    // From an image in whole vectors; the `next` is asked of the memory meanwhile.
    double half_squared_distance(const T* y, const KEPT* phi, int64_t next) const {
        constexpr int step = 4 * L;  // four sums, since each has to wait for itself
        const KEPT* after = lies(next);
        double sums[L] = {};
        for (int64_t k = 0; k < padded_; k += 4 * stretch) {
            const int64_t end = std::min<int64_t>(k + 4 * stretch, padded_);
            V sum[4] = {};
            const auto add = [&](V& to, int64_t i) {
                const V difference = load(y + i) - values(phi + i);
                to += difference * difference;
            };
            int64_t i = k;
            for (; i + step <= end; i += step) {
                for (int at = 0; at < step; at += 64 / sizeof(KEPT)) ask(after, i + at);
                for (int at = 0; at < 4; ++at) add(sum[at], i + at * L);
            }
            for (; i < end; i += L) add(sum[0], i);
            pass_on((sum[0] + sum[1]) + (sum[2] + sum[3]), sums);
        }
        return half_of(sums);
    }

    // `count` numbers of an image from the k-th on: where they lie if they fill vectors, else a copy with zeros beyond the last.
    const KEPT* piece(int64_t n, int64_t k, int64_t count, KEPT* copy) const {
        const int64_t image = task_.index ? task_.index[task_.start + n] : task_.start + n, from = image * task_.size + k;
        const int64_t there = std::min(count, task_.size - k);
        if constexpr (std::is_same_v<T, double>) {
            task_.bytes ? in_order(task_.bytes + from, int(there), copy) : in_order(task_.floats + from, int(there), copy);
        } else {
            const KEPT* stored;
            if constexpr (bytes)
                stored = task_.bytes + from;
            else
                stored = task_.floats + from;
            if (there == count) return stored;
            std::copy_n(stored, there, copy);
        }
        std::fill_n(copy + there, count - there, KEPT(0));
        return copy;
    }

    // Memory answers while another image is met.
    static INLINE void ask(const KEPT* image, int64_t k) {
        if constexpr (!std::is_same_v<T, double>) __builtin_prefetch(image + k, 0, 2);
    }

    // The n-th image, or the last, where it is stored.
    const KEPT* lies(int64_t n) const {
        const int64_t met = std::min(task_.start + n, task_.stop - 1), from = (task_.index ? task_.index[met] : met) * task_.size;
        if constexpr (std::is_same_v<T, double>)
            return nullptr;  // kept nowhere as it is met
        else if constexpr (bytes)
            return task_.bytes + from;
        else
            return task_.floats + from;
    }

    static INLINE void pass_on(V sum, double* to) {
        wide total;
        std::memcpy(&total, to, sizeof total);
        total += __builtin_convertvector(sum, wide);
        std::memcpy(to, &total, sizeof total);
    }

    template <class MET>
    static INLINE V values(const MET* phi) {
        if constexpr (std::is_same_v<MET, uint8_t>) {
            return widened(phi);
        } else {
            return load(phi);
        }
    }

  private:
    // ---- distances

    void distances_one_by_one(const T* y, double* half) const {
        const int64_t count = task_.stop - task_.start;
#pragma omp parallel num_threads(task_.threads)
        {
            Buffer<KEPT> copy(in_place_ ? 0 : padded_);
#pragma omp for schedule(static)
            for (int64_t n = 0; n < count; ++n) {
                const KEPT* phi = nullptr;
                for (int64_t b = 0; b < task_.batch; ++b) {
                    if (task_.where && !task_.where[b * count + n]) continue;
                    if (!phi) phi = piece(n, 0, padded_, copy);
                    half[b * count + n] = half_squared_distance(y + b * padded_, phi, n + 1);
                }
            }
        }
    }

    void distances_in_blocks(const T* y, double* half) const {
        const int64_t count = task_.stop - task_.start;
#pragma omp parallel num_threads(task_.threads)
        {
            Buffer<KEPT> copy(stretch);
            Buffer<T> panel(together * stretch);
            Buffer<double> sums(queries_ * together * L);
#pragma omp for schedule(static)
            for (int64_t first = 0; first < count; first += together) {
                const int images = int(std::min<int64_t>(together, count - first));
                std::fill_n(static_cast<double*>(sums), queries_ * together * L, 0.0);
                for (int64_t k = 0; k < padded_; k += stretch) {
                    const int64_t here = std::min<int64_t>(stretch, padded_ - k);
                    for (int n = 0; n < images; ++n) widen(first + n, k, here, copy, panel + n * stretch);
                    for (int64_t b = 0; b < queries_; b += queries_at_once)
                        for (int n = 0; n < images; n += images_at_once) {
                            const T* phi[images_at_once];
                            for (int i = 0; i < images_at_once; ++i) phi[i] = panel + (n + i) * stretch;
                            squares<queries_at_once, images_at_once>(y + b * padded_ + k, phi, 0, here, sums + (b * together + n) * L);
                        }
                }
                for (int64_t b = 0; b < task_.batch; ++b)
                    for (int n = 0; n < images; ++n) half[b * count + first + n] = half_of(sums + (b * together + n) * L);
            }
        }
    }

    // To the sums of QUERIES by IMAGES, `together` apart, from `count` numbers beginning with the images' k-th.
    template <int QUERIES, int IMAGES, class MET>
    INLINE void squares(const T* y, const MET* const* phi, int64_t k, int64_t count, double* to) const {
        V sum[QUERIES][IMAGES] = {};
        for (int64_t i = 0; i < count; i += L) {
            V value[IMAGES];
            for (int n = 0; n < IMAGES; ++n) value[n] = values(phi[n] + k + i);
            for (int b = 0; b < QUERIES; ++b) {
                const V mine = load(y + b * padded_ + i);
                for (int n = 0; n < IMAGES; ++n) sum[b][n] += (mine - value[n]) * (mine - value[n]);
            }
        }
        for (int b = 0; b < QUERIES; ++b)
            for (int n = 0; n < IMAGES; ++n) pass_on(sum[b][n], to + (b * together + n) * L);
    }

    static double half_of(const double* sums) {
        double sum = 0;
        for (int lane = 0; lane < L; ++lane) sum += sums[lane];
        return 0.5 * slope * slope * sum;
    }

    // ---- weighted sums

    void add(const T* panel, const T* weights, int images, double* to) const {
        constexpr int width = vectors_at_once * L;
        V sum[queries_at_once][vectors_at_once] = {};
        for (int i = 0; i < images; ++i, panel += width, weights += queries_) {
            V value[vectors_at_once];
            for (int at = 0; at < vectors_at_once; ++at) value[at] = load(panel + at * L);
            for (int b = 0; b < queries_at_once; ++b)
                for (int at = 0; at < vectors_at_once; ++at) sum[b][at] += splat(weights[b]) * value[at];
        }
        for (int b = 0; b < queries_at_once; ++b)
            for (int at = 0; at < vectors_at_once; ++at) pass_on(sum[b][at], to + b * width + at * L);
    }

    // ---- images in panels

    void widen(int64_t n, int64_t k, int64_t count, KEPT* copy, T* to) const {
        const KEPT* from = piece(n, k, count, copy);
        for (int64_t i = 0; i < count; i += L) store(to + i, values(from + i));
    }

    const ImageTask& task_;
    const int64_t padded_, queries_;  // numbers in whole vectors, queries in whole blocks
    const bool few_, in_place_;
};

}  // namespace patchmosaic::PATCHMOSAIC_ISA
