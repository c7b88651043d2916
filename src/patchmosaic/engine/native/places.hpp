// LS: pixel p of a query may match only the patch round the same pixel p of each image.
//
//     distance(p) = sum over the window's offsets k of (y(p + k) - phi(p + k))²,        weight = 2^-(gamma / (2 ln 2) distance)
//
// There is but one patch for a pixel and an image, so what is done once for each image is all the work. Vectors hold neighbouring
// pixels of a row: images are met where they lie, one after another, and what the pixels of a query have learnt fits the
// first-level cache. An image and a query:
//
//     energies   E = sum over channels of (y - phi)²
//     down       V = sum of E over the window's rows
//     absorb     the sum of V over the window's columns is the distance. At most (least so far) + skip in some lane?
//                Then weigh the patches: s += w, v += w phi(centre).
//
// A window of 2 n + 1 numbers is two of n side by side and one more, and so on for n: log2 P additions and some. As nothing is
// taken away again, nothing cancels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "buffer.hpp"
#include "rules.hpp"
#include "simd.hpp"
#include "softmax.hpp"
#include "task.hpp"
#include "workers.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

// ---------------------------------------------------------------------------------------------------------------------------------
// Sums over windows that reach `reach` numbers to both sides, of numbers that lie `step` apart.

template <class T>
class Windows {
    static constexpr int L = Lanes<T>::count;

  public:
    // Of `count` numbers in whole vectors; there are zeros on both sides.
    Windows(int reach, int64_t step, int64_t count)
        : reach_(reach),
          step_(step),
          margin_(whole(reach * step)),
          filled_(margin_ + count),
          numbers_(filled_ + margin_),
          halves_(reach == 1 ? 0 : filled_ + margin_) {}

    static int64_t whole(int64_t count) { return (count + L - 1) / L * L; }

    T* numbers() { return numbers_ + margin_; }

    // A window is the sum of `reach` numbers, of as many more, and the last.
    struct Sums {
        const T *left, *right, *last;
        INLINE vec<T> round(int64_t i) const { return load(left + i) + load(right + i) + load(last + i); }
    };

    // When the numbers are there: sums of 1, 2, 4 ... of them, or one more, on the way to `reach`.
    Sums sums() {
        int bits = 0;
        while (reach_ >> (bits + 1)) ++bits;
        const T* from = numbers_;
        for (int bit = bits - 1; bit >= 0; --bit, from = halves_) {
            const int64_t ahead = (reach_ >> (bit + 1)) * step_;
            if ((reach_ >> bit) & 1)
                widen<true>(from, numbers_, ahead, halves_);
            else
                widen<false>(from, numbers_, ahead, halves_);
        }
        const T *last = numbers_ + margin_ + reach_ * step_, *right = (reach_ == 1 ? numbers_ : halves_) + margin_;
        return {right - reach_ * step_, right, last};
    }

    static constexpr int depth(int reach) { return reach ? 2 + depth(reach / 2) : 0; }  // additions on top of one another

  private:
    // Sums of n successive numbers become sums of 2 n, or of 2 n + 1.
    template <bool ODD>
    void widen(const T* from, const T* numbers, int64_t ahead, T* to) const {
        const int64_t filled = filled_;
        for (int64_t i = 0; i < filled; i += L) {
            vec<T> sum = load(from + i) + load(from + i + ahead);
            if (ODD) sum += load(numbers + i + 2 * ahead);
            store(to + i, sum);
        }
    }

    const int reach_;
    const int64_t step_, margin_, filled_;
    Buffer<T> numbers_, halves_;
};

// ---------------------------------------------------------------------------------------------------------------------------------
// The kernel. CHANNELS = 0 reads the number of channels at run time. In float32 images are met as they are stored, bytes as 0 ... 255
// and queries on their scale: whole numbers are exact, and need not be converted. In float64 images are met as the numbers they mean.

template <class T, class KEPT, int CHANNELS>
class Places {
    using V = vec<T>;
    static constexpr int L = Lanes<T>::count;
    static constexpr int together = 8;                               // images that meet one query before the next
    static constexpr int in_float = 64;                              // images whose weights are added in T, then in float64
    static constexpr T nothing = std::numeric_limits<T>::max() / 4;  // no patch met yet
    static constexpr bool bytes = std::is_same_v<KEPT, uint8_t>;
    static constexpr double slope = bytes ? 1 / 127.5 : 1, offset = bytes ? -1 : 0;  // number = slope * kept + offset

    // On the scale of what is kept; `scale` turns a distance into units of ln 2. A patch may count up to the distance
    // growth * (least so far) + reach.
    struct Query {
        Buffer<T> y;  // (C, H, stride)
        double scale_exactly;
        T scale, growth, reach;
    };

    // What the pixels of a query have learnt: the least distance met, and relative to it the sums of weights, of weighted values of
    // each channel, and of weighted squares of them all. A sum is kept in T while few weights are added, in float64 for good.
    struct Belief {
        Buffer<T> least, now;             // (H, blocks, L), (H, blocks, slots, L)
        Buffer<double> past_least, past;  // the same
    };

  public:
    explicit Places(const Task<T>& task)
        : task_(task),
          C(CHANNELS ? CHANNELS : task.channels),
          H(task.height),
          W(task.width),
          stride_(int(Windows<T>::whole(W))),
          rows_(task.rule, H, task.patch_size),
          columns_(task.rule, W, task.patch_size) {
        for (int64_t b = 0; b < task.batch; ++b) queries_.push_back(prepared(b));
    }

    // Returns how many vectors of patches were weighed.
    int64_t add() { return deal_out<Worker>(*this, task_.start, task_.stop, together, task_.threads); }

  private:
    Query prepared(int64_t b) const {
        // At a precision of zero all weigh alike, as they do at the smallest there is.
        const double scale = std::max(0.5 * log2_e * task_.precision[b] * slope * slope, double(std::numeric_limits<T>::min()));
        // A difference, its square and every addition round; and so does each of the two distances that are compared.
        const int roundings = 3 + C + Windows<T>::depth(rows_.before) + Windows<T>::depth(columns_.before);
        Query query{Buffer<T>(size_t(C) * H * stride_), scale, T(scale), 0, 0};
        query.growth = 1 + roundings * std::numeric_limits<T>::epsilon();
        query.reach = T(std::min(task_.skip * log2_e / scale, double(nothing)));
        for (int r = 0; r < C * H; ++r)
            for (int a = 0; a < W; ++a)
                query.y[int64_t(r) * stride_ + a] = T((double(task_.queries[(b * C * H + r) * W + a]) - offset) / slope);
        return query;
    }

    class Worker {
      public:
        explicit Worker(const Places& at)
            : at(at),
              task(at.task_),
              C(CHANNELS ? CHANNELS : at.C),
              H(at.H),
              W(at.W),
              slots(C + 2),
              blocks(at.stride_ / L),
              line(Windows<T>::whole(W + at.columns_.before)),
              size(int64_t(C) * H * W),
              images(together * size + L),
              rows(at.rows_.before, at.stride_, int64_t(H) * at.stride_),
              columns(at.columns_.before, 1, H * line) {
            for (int lane = 0; lane < L; ++lane) inside[lane] = T((blocks - 1) * L + lane < W);
            for (int64_t b = 0; b < task.batch; ++b) beliefs.push_back(opened(b));
        }

        // The images from `first` to `last`, at most `together`, meet every query.
        void meet(int64_t first, int64_t last) {
            const KEPT* phi[together];
            for (int64_t n = first; n < last; ++n) phi[n - first] = image(n, images + (n - first) * size);
            for (int64_t b = 0; b < task.batch; ++b)
                for (int64_t n = first; n < last; ++n) {
                    if (b == 0 && n + 1 < task.stop) prefetch(n + 1);
                    meet(phi[n - first], at.queries_[b], beliefs[b]);
                }
            unsettled += last - first;
            if (unsettled + together > in_float) settle();
        }

        // Add all to the sums of the task (see PosteriorSum.merged), which are of numbers.
        void merge() {
            settle();
            const int64_t pixels = int64_t(H) * W;
            for (int64_t b = 0; b < task.batch; ++b)
                for (int64_t pixel = 0; pixel < pixels; ++pixel) {
                    const int64_t place = pixel / W * at.stride_ + pixel % W;
                    const double *past = beliefs[b].past + place / L * slots * L + place % L, weight = past[0];
                    if (weight == 0) continue;
                    double &m = task.m[b * pixels + pixel], &s = task.s[b * pixels + pixel], *v = task.v + b * (C + 1) * pixels + pixel;
                    const Peak peak(m, -beliefs[b].past_least[place] * at.queries_[b].scale_exactly / log2_e);
                    const auto add = [&](double& sum, double mine) { sum = sum * peak.theirs_fade + mine * peak.mine_fade; };
                    double squares = slope * slope * past[(1 + C) * L];
                    for (int c = 0; c < C; ++c) {
                        const double value = slope * past[(1 + c) * L];
                        add(v[c * pixels], value + offset * weight);
                        squares += offset * (2 * value + offset * weight);
                    }
                    add(v[C * pixels], squares);
                    add(s, weight);
                    m = peak.m;
                }
        }

        int64_t kept = 0;

      private:
        // A query's pixels begin where an earlier sum ended.
        Belief opened(int64_t b) const {
            const int64_t places = int64_t(H) * at.stride_;
            Belief belief{Buffer<T>(places), Buffer<T>(places * slots), Buffer<double>(places), Buffer<double>(places * slots)};
            for (int64_t place = 0; place < places; ++place) {
                const int64_t r = place / at.stride_, a = place % at.stride_;
                const double m = a < W ? task.m[(b * H + r) * W + a] : -INFINITY;
                belief.least[place] = std::isfinite(m) ? T(-m * log2_e / at.queries_[b].scale_exactly) : nothing;
                belief.past_least[place] = double(belief.least[place]);
            }
            return belief;
        }

        // ---- the images

        // Not if they are converted, or if the last vector of a row goes on beyond it, and beyond the last image.
        bool in_place() const { return std::is_same_v<T, float> && W % L == 0; }

        // An image where it lies, or a copy of it.
        const KEPT* image(int64_t n, KEPT* copy) const {
            const auto meant = [&](const auto* stored) { in_order(stored, int(size), copy); };
            if constexpr (std::is_same_v<T, double>) {
                task.bytes ? meant(task.bytes + start(n)) : meant(task.floats + start(n));
            } else {
                const KEPT* stored;
                if constexpr (bytes)
                    stored = task.bytes + start(n);
                else
                    stored = task.floats + start(n);
                if (in_place()) return stored;
                std::copy_n(stored, size, copy);
            }
            return copy;
        }

        // Memory answers while the image before is met.
        void prefetch(int64_t n) const {
            const auto lines = [&](const auto* stored) {
                for (int64_t i = 0; i < size; i += 64 / sizeof *stored) __builtin_prefetch(stored + i);
            };
            task.bytes ? lines(task.bytes + start(n)) : lines(task.floats + start(n));
        }

        int64_t start(int64_t n) const { return (task.index ? task.index[n] : n) * size; }

        static INLINE V values(const KEPT* phi) {
            if constexpr (bytes) {
                return widened(phi);
            } else {
                return load(phi);
            }
        }

        // ---- an image and a query. Members are read into variables first: else they are read anew after every vector that is stored.

        void meet(const KEPT* phi, const Query& query, Belief& belief) {
            energies(phi, query.y, rows.numbers());
            down(rows.sums(), columns.numbers());
            absorb(columns.sums(), phi, query, belief.least, belief.now);
        }

        void energies(const KEPT* phi, const T* y, T* to) const {
            const int C = CHANNELS ? CHANNELS : this->C, W = this->W, blocks = this->blocks;
            const int64_t stride = at.stride_, y_apart = H * stride, phi_apart = int64_t(H) * W;
            const V inside = this->inside;
            for (int r = H; r; --r, y += stride, phi += W, to += stride)
                for (int block = 0; block < blocks; ++block) {
                    V sum{};
                    for (int c = 0; c < C; ++c) {
                        const V difference = load(y + c * y_apart + block * L) - values(phi + c * phi_apart + block * L);
                        sum += difference * difference;
                    }
                    store(to + block * L, block + 1 < blocks ? sum : sum * inside);
                }
        }

        void down(typename Windows<T>::Sums sums, T* to) const {
            const int blocks = this->blocks;
            const int64_t line = this->line;
            int64_t i = 0;
            for (int r = H; r; --r, to += line)
                for (int block = 0; block < blocks; ++block, i += L) store(to + block * L, sums.round(i));
        }

        void absorb(typename Windows<T>::Sums across, const KEPT* phi, const Query& query, T* least, T* sums) {
            const int C = CHANNELS ? CHANNELS : this->C, W = this->W, blocks = this->blocks, slots = C + 2;
            const int64_t line = this->line, phi_apart = int64_t(H) * W;
            const T growth = query.growth, reach = query.reach, scale = query.scale;
            int64_t weighed = 0, i = 0;
            for (int r = H; r; --r, i += line, phi += W)
                for (int block = 0; block < blocks; ++block, least += L, sums += slots * L) {
                    const V distance = across.round(i + block * L), known = load(least);
                    if (!any_at_most(distance, known * growth + reach)) continue;
                    ++weighed;
                    V nearer = (known - distance) * scale;
                    if (any_at_most(splat(std::numeric_limits<T>::min()), nearer)) {
                        const V nearest = smaller<T>(distance, known), fade = exp2<T>((nearest - known) * scale);
                        store(least, nearest);
                        for (int slot = 0; slot < slots; ++slot) store(sums + slot * L, load(sums + slot * L) * fade);
                        nearer = (nearest - distance) * scale;
                    }
                    const V weight = exp2<T>(nearer);
                    const auto add = [&](int slot, V more) { store(sums + slot * L, load(sums + slot * L) + more); };
                    add(0, weight);
                    V squares{};
                    for (int c = 0; c < C; ++c) {
                        const V value = values(phi + c * phi_apart + block * L);
                        add(1 + c, weight * value);
                        squares += value * value;
                    }
                    add(1 + C, weight * squares);
                }
            kept += weighed;
        }

        // Pass on to float64 what was added since.
        void settle() {
            for (int64_t b = 0; b < task.batch; ++b) {
                Belief& belief = beliefs[b];
                const T* least = belief.least;
                T* now = belief.now;
                double *past_least = belief.past_least, *past = belief.past;
                for (int block = 0; block < H * blocks; ++block, least += L, past_least += L) {
                    double fade[L];
                    for (int lane = 0; lane < L; ++lane) {
                        const double nearer = past_least[lane] - double(least[lane]);
                        fade[lane] = nearer == 0 ? 1 : std::exp2(-nearer * at.queries_[b].scale_exactly);
                        past_least[lane] = double(least[lane]);
                    }
                    for (int slot = 0; slot < slots; ++slot, now += L, past += L)
                        for (int lane = 0; lane < L; ++lane) {
                            past[lane] = past[lane] * fade[lane] + double(now[lane]);
                            now[lane] = 0;
                        }
                }
            }
            unsettled = 0;
        }

        const Places& at;
        const Task<T>& task;
        const int C, H, W, slots, blocks;  // sums of a pixel, and vectors of a row
        const int64_t line;                // of `columns`: the zeros after a row are those before the next
        const int64_t size;                // of an image
        Buffer<KEPT> images;               // (together, C, H, W): copies of those that are not met in place
        Windows<T> rows, columns;
        V inside;  // 1 where the last vector of a row has a pixel, 0 beyond the border
        std::vector<Belief> beliefs;
        int64_t unsettled = 0;  // images
    };

    const Task<T>& task_;
    const int C, H, W, stride_;  // of rows of queries, in whole vectors
    const Axis rows_, columns_;
    std::vector<Query> queries_;
};

// Of any number of channels and any images.
template <class T>
int64_t add_places(const Task<T>& task) {
    const auto add = [&](auto kept) {
        using Kept = decltype(kept);
        switch (task.channels) {
            case 1: return Places<T, Kept, 1>(task).add();
            case 3: return Places<T, Kept, 3>(task).add();
            default: return Places<T, Kept, 0>(task).add();
        }
    };
    if constexpr (std::is_same_v<T, float>)
        return task.bytes ? add(uint8_t()) : add(float());
    else
        return add(double());
}

}  // namespace patchmosaic::PATCHMOSAIC_ISA
