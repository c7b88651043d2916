// LS: pixel p of a query may match only the patch round the same pixel p of each image.
//
//     distance(p) = sum over the window's offsets k of (y(p + k) - phi(p + k))²,        weight = 2^-(gamma / (2 ln 2) distance)
//
// There is but one patch for a pixel and an image, so what is done once for each image is all the work. Vectors hold neighbouring
// pixels of a row, and images are met where they lie, several abreast: what a pixel has learnt is read and written once for them
// all. An image and a query:
//
//     energies   E = sum over channels of (y - phi)²
//     across     A = sum of E over the window's columns
//
// and then the images abreast:
//
//     absorb     the sum of A over the window's rows is the distance. At most (least so far) + skip in some lane of some image?
//                Then weigh the patches: s += w, v += w phi(centre).
//
// Distances are counted in units of ln 2: y and phi are multiplied by sqrt(gamma / (2 ln 2)) before they are subtracted.
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
    static constexpr int abreast = 4;                                // images that meet a query together
    static constexpr int in_float = 64;                              // additions to a sum in T, before it goes on in float64
    static constexpr T nothing = std::numeric_limits<T>::max() / 4;  // no patch met yet
    static constexpr bool bytes = std::is_same_v<KEPT, uint8_t>;
    static constexpr double slope = bytes ? 1 / 127.5 : 1, offset = bytes ? -1 : 0;  // number = slope * kept + offset

    // Squared differences of y and of what is kept times `scale` are in units of ln 2. A patch may count up to the distance
    // growth * (least so far) + reach.
    struct Query {
        Buffer<T> y;  // (C, H, stride), times scale
        T scale, growth, reach;
    };

    // What the pixels of a query have learnt: the least distance met, and relative to it the sums of weights, of weighted values of
    // each channel, and of weighted squares of them all. A sum is kept in T while few weights are added, in float64 for good.
    struct Belief {
        Buffer<T> least, now;             // (vectors, L), (vectors, slots, L)
        Buffer<double> past_least, past;  // the same
    };

    struct Image {
        const KEPT* phi;   // (C, H, stride)
        const KEPT* next;  // what is asked of the memory meanwhile
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
    int64_t add() { return deal_out<Worker>(*this, task_.start, task_.stop, abreast, task_.threads); }

  private:
    Query prepared(int64_t b) const {
        // At a precision of zero all weigh alike, as they do at the smallest there is.
        const double squared = std::max(0.5 * log2_e * task_.precision[b] * slope * slope, double(std::numeric_limits<T>::min()));
        // A difference, its square and every addition round; and so does each of the two distances that are compared.
        const int roundings = 3 + C + Windows<T>::depth(rows_.before) + Windows<T>::depth(columns_.before);
        const T scale = T(std::sqrt(squared)), growth = 1 + roundings * std::numeric_limits<T>::epsilon();
        Query query{Buffer<T>(size_t(C) * H * stride_), scale, growth, T(task_.skip * log2_e)};
        for (int r = 0; r < C * H; ++r)
            for (int a = 0; a < W; ++a) {
                const double y = (double(task_.queries[(b * C * H + r) * W + a]) - offset) / slope;
                query.y[int64_t(r) * stride_ + a] = T(y * double(scale));
            }
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
              line(Windows<T>::whole(W + at.columns_.before)),
              apart(int64_t(H) * at.stride_),
              plane(apart + at.rows_.before * at.stride_),
              copies(abreast * C * apart),
              columns(at.columns_.before, 1, H * line),
              rows(at.rows_.before, at.stride_, abreast * plane) {
            for (int64_t b = 0; b < task.batch; ++b) beliefs.push_back(opened(b));
        }

        // The images from `first` to `last`, at most `abreast`, meet every query.
        void meet(int64_t first, int64_t last) {
            Image images[abreast];
            const int count = int(last - first);
            for (int n = 0; n < count; ++n) images[n] = image(first + n, copies + n * C * apart);
            for (int64_t b = 0; b < task.batch; ++b)
                if (count == abreast)
                    meet<abreast>(images, at.queries_[b], beliefs[b]);
                else
                    for (int n = 0; n < count; ++n) meet<1>(images + n, at.queries_[b], beliefs[b]);
            additions += count == abreast ? 1 : count;
            if (additions + abreast > in_float) settle();
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
                    const Peak peak(m, -beliefs[b].past_least[place] / log2_e);
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
                if (a < W) {
                    const double m = task.m[(b * H + r) * W + a];
                    belief.least[place] = std::isfinite(m) ? T(-m * log2_e) : nothing;
                } else {
                    belief.least[place] = -nothing;  // beyond the border no patch counts
                }
                belief.past_least[place] = double(belief.least[place]);
            }
            return belief;
        }

        // ---- the images

        // An image where it lies, or a copy of it.
        Image image(int64_t n, KEPT* copy) const {
            if constexpr (std::is_same_v<T, double>) {
                task.bytes ? by_rows(task.bytes + start(n), copy) : by_rows(task.floats + start(n), copy);
                return {copy, copy};
            } else {
                const KEPT* pool;
                if constexpr (bytes)
                    pool = task.bytes;
                else
                    pool = task.floats;
                const KEPT *stored = pool + start(n), *next = pool + start(std::min(n + abreast, task.stop - 1));
                if (W == at.stride_) return {stored, next};
                by_rows(stored, copy);
                return {copy, next};
            }
        }

        // In rows of whole vectors, zero beyond the border; in float64 the numbers that are meant.
        template <class Stored>
        void by_rows(const Stored* from, KEPT* to) const {
            for (int r = 0; r < C * H; ++r, from += W, to += at.stride_)
                if constexpr (std::is_same_v<T, double>)
                    in_order(from, W, to);
                else
                    std::copy_n(from, W, to);
        }

        int64_t start(int64_t n) const { return (task.index ? task.index[n] : n) * C * H * W; }

        static INLINE V values(const KEPT* phi) {
            if constexpr (bytes) {
                return widened(phi);
            } else {
                return load(phi);
            }
        }

        // ---- images and a query. Members are read into variables first: else they are read anew after every vector that is stored.

        template <int N>
        void meet(const Image* images, const Query& query, Belief& belief) {
            for (int n = 0; n < N; ++n) {
                energies(images[n].phi, query, columns.numbers());
                across(columns.sums(), rows.numbers() + n * plane);
            }
            absorb<N>(rows.sums(), images, query, belief.least, belief.now);
        }

        void energies(const KEPT* phi, const Query& query, T* to) const {
            const int C = CHANNELS ? CHANNELS : this->C;
            const int64_t stride = at.stride_, line = this->line, apart = this->apart;
            const T *y = query.y, scale = query.scale;
            for (int r = H; r; --r, y += stride, phi += stride, to += line)
                for (int64_t i = 0; i < stride; i += L) {
                    V sum{};
                    for (int c = 0; c < C; ++c) {
                        const V difference = load(y + c * apart + i) - values(phi + c * apart + i) * scale;
                        sum += difference * difference;
                    }
                    store(to + i, sum);
                }
        }

        void across(typename Windows<T>::Sums sums, T* to) const {
            const int64_t stride = at.stride_, line = this->line;
            int64_t row = 0;
            for (int r = H; r; --r, to += stride, row += line)
                for (int64_t i = 0; i < stride; i += L) store(to + i, sums.round(row + i));
        }

        template <int N>
        void absorb(typename Windows<T>::Sums down, const Image* images, const Query& query, T* least, T* sums) {
            const int C = CHANNELS ? CHANNELS : this->C, slots = C + 2;
            const int64_t apart = this->apart, plane = this->plane;
            const T growth = query.growth, reach = query.reach;
            Image image[N];
            std::copy_n(images, N, image);
            int64_t weighed = 0;
            for (int64_t i = 0; i < apart; i += L, least += L, sums += slots * L) {
                // Evenly while others are met: memory that is asked for much at once makes everything wait.
                for (int n = 0; n < N; ++n)
                    for (int ahead = 0; ahead < C * L; ahead += 64 / sizeof(KEPT)) __builtin_prefetch(image[n].next + C * i + ahead);
                V distance[N];
                for (int n = 0; n < N; ++n) distance[n] = down.round(i + n * plane);
                V nearest = distance[0];
                for (int n = 1; n < N; ++n) nearest = smaller<T>(nearest, distance[n]);
                const V known = load(least);
                if (!any_at_most(nearest, known * growth + reach)) continue;
                weighed += N;
                nearest = smaller<T>(nearest, known);
                const V nearer = known - nearest;
                if (any_at_most(splat(std::numeric_limits<T>::min()), nearer)) {
                    const V fade = exp2<T>(-nearer);
                    store(least, nearest);
                    for (int slot = 0; slot < slots; ++slot) store(sums + slot * L, load(sums + slot * L) * fade);
                }
                const auto add = [&](int slot, V more) { store(sums + slot * L, load(sums + slot * L) + more); };
                V weight[N], squares[N] = {}, sum{};
                for (int n = 0; n < N; ++n) sum += weight[n] = exp2<T>(nearest - distance[n]);
                add(0, sum);
                for (int c = 0; c < C; ++c) {
                    sum = V{};
                    for (int n = 0; n < N; ++n) {
                        const V value = values(image[n].phi + c * apart + i);
                        sum += weight[n] * value;
                        squares[n] += value * value;
                    }
                    add(1 + c, sum);
                }
                sum = V{};
                for (int n = 0; n < N; ++n) sum += weight[n] * squares[n];
                add(1 + C, sum);
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
                for (int64_t i = 0; i < apart; i += L, least += L, past_least += L) {
                    double fade[L];
                    for (int lane = 0; lane < L; ++lane) {
                        const double nearer = past_least[lane] - double(least[lane]);
                        fade[lane] = nearer == 0 ? 1 : std::exp2(-nearer);
                        past_least[lane] = double(least[lane]);
                    }
                    for (int slot = 0; slot < slots; ++slot, now += L, past += L)
                        for (int lane = 0; lane < L; ++lane) {
                            past[lane] = past[lane] * fade[lane] + double(now[lane]);
                            now[lane] = 0;
                        }
                }
            }
            additions = 0;
        }

        const Places& at;
        const Task<T>& task;
        const int C, H, W, slots;  // sums of a pixel
        const int64_t line;        // of `columns`: the zeros after a row are those before the next
        const int64_t apart;       // channels of queries and images, in whole vectors
        const int64_t plane;       // of an image in `rows`: the zeros after it are those before the next
        Buffer<KEPT> copies;       // (abreast, C, H, stride), of images that are not met where they lie
        Windows<T> columns, rows;
        std::vector<Belief> beliefs;
        int additions = 0;  // to a sum in T
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
