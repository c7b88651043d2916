// Whole images against queries: half of their squared distances, and weighted sums of them. Numbers lie along the vectors, as they
// do in memory; images are read, and widened where they are bytes, once for all queries.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <omp.h>

#include "buffer.hpp"
#include "simd.hpp"
#include "task.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

template <class T>
class Images {
    using V = vec<T>;
    static constexpr int L = Lanes<T>::count;
    // Sums of T lane by lane, which are passed on to float64 after so many numbers of an image, or so many images.
    typedef double wide __attribute__((vector_size(8 * L)));
    static constexpr int stretch = 32 * L, together = 16, crowd = 32;  // vectors, images: whole multiples of what is summed at once

  public:
    explicit Images(const ImageTask& task) : task_(task), padded_((task.size + L - 1) / L * L) {}

    // To `half` (B, stop - start). Differences are squared, not products: nothing cancels.
    void half_squared_distances(const T* queries, double* half) const {
        const int64_t B = task_.batch, count = task_.stop - task_.start;
        Buffer<T> padded(B * padded_);
        for (int64_t b = 0; b < B; ++b) std::copy_n(queries + b * task_.size, task_.size, padded + b * padded_);
#pragma omp parallel num_threads(task_.threads)
        {
            Buffer<T> phi(together * stretch);
            Buffer<double> sums(B * together * L);
#pragma omp for schedule(static)
            for (int64_t first = 0; first < count; first += together) {
                const int images = int(std::min<int64_t>(together, count - first));
                std::fill_n(static_cast<double*>(sums), B * together * L, 0.0);
                for (int64_t k = 0; k < padded_; k += stretch) {
                    const int vectors = int(std::min<int64_t>(stretch, padded_ - k)) / L;
                    for (int n = 0; n < images; ++n) read(task_.start + first + n, k, vectors * L, phi + n * stretch);
                    const T* y = padded + k;
                    double* to = sums;
                    int64_t b = 0;
                    for (; b + 4 <= B; b += 4, y += 4 * padded_, to += 4 * together * L)
                        for (int n = 0; n < images; n += 2) squares<4, 2>(y, phi + n * stretch, vectors, to + n * L);
                    for (; b < B; ++b, y += padded_, to += together * L)
                        for (int n = 0; n < images; n += 8) squares<1, 8>(y, phi + n * stretch, vectors, to + n * L);
                }
                for (int64_t b = 0; b < B; ++b)
                    for (int n = 0; n < images; ++n) {
                        double sum = 0;
                        for (int lane = 0; lane < L; ++lane) sum += sums[(b * together + n) * L + lane];
                        half[b * count + first + n] = 0.5 * sum;
                    }
            }
        }
    }

    // To `sums` (B, size), images times their weights (B, stop - start). Those that weigh nothing are not read.
    void add_weighted(const T* weights, double* sums) const {
        const int64_t B = task_.batch, count = task_.stop - task_.start;
        Buffer<int64_t> heavy(count);
        int64_t many = 0;
        for (int64_t n = 0; n < count; ++n) {
            bool weighs = false;
            for (int64_t b = 0; b < B; ++b) weighs |= weights[b * count + n] != 0;
            if (weighs) heavy[many++] = n;
        }
        const int64_t whole = (B + 3) / 4 * 4;  // queries, with some more that weigh nothing
#pragma omp parallel num_threads(task_.threads)
        {
            Buffer<T> phi(crowd * stretch), packed(crowd * whole);
            Buffer<double> mine(whole * stretch);
#pragma omp for schedule(static)
            for (int64_t k = 0; k < padded_; k += stretch) {
                const int vectors = int(std::min<int64_t>(stretch, padded_ - k)) / L;
                std::fill_n(static_cast<double*>(mine), whole * stretch, 0.0);
                for (int64_t first = 0; first < many; first += crowd) {
                    const int images = int(std::min<int64_t>(crowd, many - first));
                    for (int i = 0; i < images; ++i) {
                        const int64_t n = heavy[first + i];
                        read(task_.start + n, k, vectors * L, phi + i * stretch);
                        for (int64_t b = 0; b < B; ++b) packed[i * whole + b] = weights[b * count + n];
                    }
                    if (B == 1)
                        for (int at = 0; at < vectors; at += 8) weigh<1, 8>(phi + at * L, packed, whole, images, mine + at * L);
                    for (int64_t b = 0; B > 1 && b < B; b += 4)
                        for (int at = 0; at < vectors; at += 2) weigh<4, 2>(phi + at * L, packed + b, whole, images, mine + b * stretch + at * L);
                }
                const int64_t numbers = std::min<int64_t>(vectors * L, task_.size - k);
                for (int64_t b = 0; b < B; ++b)
                    for (int64_t i = 0; i < numbers; ++i) sums[b * task_.size + k + i] += mine[b * stretch + i];
            }
        }
    }

  private:
    // `count` numbers of an image from the k-th on, and zeros beyond its last.
    void read(int64_t n, int64_t k, int count, T* to) const {
        const int64_t image = task_.index ? task_.index[n] : n, from = image * task_.size + k;
        const int there = int(std::min<int64_t>(count, task_.size - k));
        if (task_.bytes)
            in_order(task_.bytes + from, there, to);
        else
            in_order(task_.floats + from, there, to);
        std::fill_n(to + there, count - there, T(0));
    }

    template <int QUERIES, int IMAGES>
    INLINE void squares(const T* y, const T* phi, int vectors, double* to) const {
        V sum[QUERIES][IMAGES] = {};
        for (int k = 0; k < vectors * L; k += L)
            for (int b = 0; b < QUERIES; ++b) {
                const V mine = load(y + b * padded_ + k);
                for (int n = 0; n < IMAGES; ++n) {
                    const V difference = mine - load(phi + n * stretch + k);
                    sum[b][n] += difference * difference;
                }
            }
        for (int b = 0; b < QUERIES; ++b)
            for (int n = 0; n < IMAGES; ++n) pass_on(sum[b][n], to + (b * together + n) * L);
    }

    template <int QUERIES, int VECTORS>
    static INLINE void weigh(const T* phi, const T* weights, int64_t between, int images, double* to) {
        V sum[QUERIES][VECTORS] = {};
        for (int i = 0; i < images; ++i)
            for (int at = 0; at < VECTORS; ++at) {
                const V value = load(phi + i * stretch + at * L);
                for (int b = 0; b < QUERIES; ++b) sum[b][at] += splat(weights[i * between + b]) * value;
            }
        for (int b = 0; b < QUERIES; ++b)
            for (int at = 0; at < VECTORS; ++at) pass_on(sum[b][at], to + b * stretch + at * L);
    }

    static INLINE void pass_on(V sum, double* to) {
        wide total;
        std::memcpy(&total, to, sizeof total);
        total += __builtin_convertvector(sum, wide);
        std::memcpy(to, &total, sizeof total);
    }

    const ImageTask& task_;
    const int64_t padded_;
};

}  // namespace patchmosaic::PATCHMOSAIC_ISA
