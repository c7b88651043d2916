// The one algorithm of LS, ELS and bbELS: softmax over patches without unfolding one.
//
//     E(p, q) = sum_c (y_c(p) - phi_c(q))²          D(p, q) = sum of E(p + k, q + k) over the offsets k of the window
//
// For a training image and a displacement of its rows against the query's, the rows p of the query and q of the image that meet
// run along together:
//
//     rows      E of one row against the other for every training column b and 16 query columns a at once,
//               then sums of P successive rows:                                                                  V[b][a]
//     diagonals sums of V[b + k][a + k] over the window's columns k:                                             D[b][a]
//     absorb    D[b][a] < (least so far) + skip / gamma?  Then weigh the patch: s += w, v += w phi(centre).
//
// Nothing is subtracted from a sum again, so nothing cancels: sums of P successive rows are a suffix of one block of P rows and a
// prefix of the next (van Herk; three additions whatever P; where P is small its rows are simply added), sums along diagonals are made of sums of 2, 4, 8 ... columns.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include <omp.h>

#include "rules.hpp"
#include "simd.hpp"
#include "task.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

constexpr double log2_e = 1.4426950408889634;
constexpr int most_terms = 64;             // of a diagonal sum; windows of any size need fewer
constexpr int64_t terms_in_float = 1024;    // weights added in T before they are passed on to float64

inline int modulo(int a, int n) { return ((a % n) + n) % n; }

// How a sum of `window` columns along a diagonal is made: of sums of 2^level columns, `levels` doublings deep, at these offsets.
struct Diagonal {
    int levels = 0;
    std::vector<int> level, offset;

    // Measured: a doubling of each of `side` rows costs as much as 2.5 terms of each of `matched` rows.
    Diagonal(int window, int side, int matched) {
        const double doubling = 2.5 * side / std::max(1, matched);
        for (int l = 1; 1 << l <= window; ++l)
            if (doubling * l + terms(window, l) < doubling * levels + terms(window, levels)) levels = l;
        int at = 0;
        for (int l = levels; l >= 0; --l) {
            for (int n = l == levels ? window >> l : (window >> l) & 1; n > 0; --n) {
                level.push_back(l);
                offset.push_back(at);
                at += 1 << l;
            }
        }
    }

  private:
    static int terms(int window, int levels) {
        int count = window >> levels;
        for (int l = 0; l < levels; ++l) count += (window >> l) & 1;
        return count;
    }
};

// ---------------------------------------------------------------------------------------------------------------------------------
// Memory

template <class T>
class Buffer {  // aligned and zeroed
  public:
    explicit Buffer(size_t count = 0, T value = T(0)) : data_(count ? new (std::align_val_t(64)) T[count] : nullptr) {
        std::fill_n(data_.get(), count, value);
    }
    operator T*() { return data_.get(); }
    operator const T*() const { return data_.get(); }

  private:
    struct Free {
        void operator()(T* p) const { ::operator delete[](p, std::align_val_t(64)); }
    };
    std::unique_ptr<T[], Free> data_;
};

template <class T>
int padded(int n) {
    return (n + Lanes<T>::count - 1) / Lanes<T>::count * Lanes<T>::count;
}

// What one query has learnt: for each row, and for each lane of a row, the least distance met, and relative to it the sum of
// weights and of weighted values. Held in T while few weights are added, in float64 for good.
template <class T>
class Belief {
  public:
    static constexpr T nothing = std::numeric_limits<T>::max() / 4;  // no patch met yet

    // `columns` says which query column a lane stands for; -1: none.
    Belief(int channels, int rows, const std::vector<int>& columns)
        : slots_(2 + channels),
          rows_(rows),
          lanes_(int(columns.size())),
          columns_(columns),
          now_(size_t(rows) * slots_ * lanes_),
          past_(size_t(rows) * slots_ * lanes_) {}

    // The least distance, then the weight, then the value of each channel, `lanes` numbers each.
    T* row(int p) { return now_ + size_t(p) * slots_ * lanes_; }

    // Begin where an earlier sum ended.
    void open(const double* m, double half_gamma, int width) {
        for_each([&](int p, int lane, int column) {
            const double peak = column < 0 ? 0 : m[p * width + column];
            T& least = row(p)[lane];
            least = column < 0 ? -nothing : std::isfinite(peak) && half_gamma > 0 ? T(-peak / half_gamma) : nothing;
            past(p)[lane] = double(least);
        });
    }

    // Pass on to float64 what was added since.
    void settle(double half_gamma) {
        for_each([&](int p, int lane, int column) {
            if (column < 0) return;
            T* fresh = row(p) + lane;
            double* kept = past(p) + lane;
            if (fresh[lanes_] == 0) return;
            const double fade = kept[0] == double(fresh[0]) ? 1.0 : std::exp(half_gamma * (double(fresh[0]) - kept[0]));
            kept[0] = double(fresh[0]);
            for (int slot = 1; slot < slots_; ++slot) {
                kept[slot * lanes_] = kept[slot * lanes_] * fade + double(fresh[slot * lanes_]);
                fresh[slot * lanes_] = 0;
            }
        });
    }

    // Add all to the sums of a caller: see PosteriorSum.merge_.
    void merge(double half_gamma, int width, double* m, double* s, double* v) {
        for_each([&](int p, int lane, int column) {
            const double* kept = past(p) + lane;
            if (column < 0 || kept[lanes_] == 0) return;
            const int64_t pixel = int64_t(p) * width + column;
            const double mine = -half_gamma * kept[0], peak = std::max(m[pixel], mine);
            const double theirs_fade = std::exp(m[pixel] - peak), mine_fade = std::exp(mine - peak);
            m[pixel] = peak;
            s[pixel] = s[pixel] * theirs_fade + kept[lanes_] * mine_fade;
            for (int c = 0; c < slots_ - 2; ++c) {
                double& sum = v[int64_t(c) * rows_ * width + pixel];
                sum = sum * theirs_fade + kept[(2 + c) * lanes_] * mine_fade;
            }
        });
    }

  private:
    double* past(int p) { return past_ + size_t(p) * slots_ * lanes_; }
    template <class F>
    void for_each(F f) {
        for (int p = 0; p < rows_; ++p)
            for (int lane = 0; lane < lanes_; ++lane) f(p, lane, columns_[lane]);
    }

    int slots_, rows_, lanes_;
    std::vector<int> columns_;
    Buffer<T> now_;
    Buffer<double> past_;
};

// ---------------------------------------------------------------------------------------------------------------------------------
// The kernel. CHANNELS = 0 reads the number of channels at run time.

template <class T, int CHANNELS>
class Patches {
    using V = vec<T>;
    static constexpr int L = Lanes<T>::count;

  public:
    explicit Patches(const Task<T>& task)
        : task_(task),
          C(CHANNELS ? CHANNELS : task.channels),
          H(task.height),
          W(task.width),
          stride_(padded<T>(W)),
          rows_(task.rule, H, task.patch_size),
          columns_(task.rule, W, task.patch_size),
          diagonal_(columns_.window, W, columns_.inner()),
          runs_(runs(task.rule, rows_)),
          from_afar_(columns_.inner() > 0 ? afar_columns() : std::vector<int>()),
          own_place_(columns_.torus ? std::vector<int>() : own_columns()),
          lanes_(padded<T>(std::max(W, int(from_afar_.size())) + columns_.window - 1)),
          ribbon_(padded<T>(W + 2 * columns_.window) + L),
          queries_(size_t(task.batch) * C * H * stride_) {
        copy_rows(task.queries, task.batch * C * H, queries_);
        for (int i = 0; i < 2 * W; ++i) wrapped_.push_back(i % W);
        for (int i : wrapped_) place_.push_back(i * lanes_);
    }

    int64_t add() {
        const int64_t images = task_.stop - task_.start;
        std::vector<std::unique_ptr<Worker>> workers(std::max<int64_t>(1, std::min<int64_t>(task_.threads, images)));
#pragma omp parallel num_threads(int(workers.size()))
        {
            auto& worker = workers[omp_get_thread_num()];
            worker = std::make_unique<Worker>(*this);
#pragma omp for schedule(static)
            for (int64_t n = task_.start; n < task_.stop; ++n) worker->meet(n);
        }
        int64_t kept = 0;
        for (auto& worker : workers) {
            if (!worker) continue;
            worker->merge();
            kept += worker->kept;
        }
        return kept;
    }

  private:
    // Lane j holds the query column whose window begins at column j, so that windows begin at their lane.
    std::vector<int> afar_columns() const {
        const int count = columns_.torus ? W : columns_.inner();
        std::vector<int> columns(padded<T>(count), -1);
        for (int j = 0; j < count; ++j) columns[j] = modulo(j + columns_.before, W);
        return columns;
    }

    // Columns that match their own place only, each in its own lane.
    std::vector<int> own_columns() const {
        std::vector<int> columns(padded<T>(W), -1);
        for (int a = 0; a < W; ++a)
            if (a < columns_.low || a >= columns_.high) columns[a] = a;
        return columns;
    }

    void copy_rows(const T* from, int64_t rows, T* to) const {
        for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * W, W, to + r * stride_);
    }

    class Worker {
      public:
        explicit Worker(const Patches& at)
            : at(at),
              task(at.task_),
              C(CHANNELS ? CHANNELS : at.C),
              H(at.H),
              W(at.W),
              plane(size_t(H) * at.stride_),
              image(C * plane),
              zeros(C * plane),
              window(size_t(at.rows_.window) * area()),
              prefix(area()),
              sums(longest()) {
            for (int l = 0; l < at.diagonal_.levels; ++l) doubled.emplace_back(longest());
            for (int64_t b = 0; b < task.batch; ++b) {
                afar.emplace_back(C, H, at.from_afar_);
                own.emplace_back(C, H, at.own_place_);
                for (auto* belief : {&afar.back(), &own.back()}) belief->open(task.m + b * H * W, half_gamma(b), W);
            }
            const int64_t met = std::max(1, at.rows_.inner()) * std::max(1, at.columns_.inner());
            settle_every = std::max<int64_t>(1, terms_in_float / met);
        }

        void meet(int64_t n) {
            read(task.index ? task.index[n] : n);
            const bool settle = ++images % settle_every == 0;
            for (int64_t b = 0; b < task.batch; ++b) {
                for (const Run& run : at.runs_) {
                    if (!at.from_afar_.empty()) along<false>(b, run);
                    if (!at.own_place_.empty()) along<true>(b, run);
                }
                if (settle) settle_all(b);
            }
        }

        void merge() {
            for (int64_t b = 0; b < task.batch; ++b) {
                settle_all(b);
                for (auto* belief : {&afar[b], &own[b]})
                    belief->merge(half_gamma(b), W, task.m + b * H * W, task.s + b * H * W, task.v + b * C * H * W);
            }
        }

        int64_t kept = 0;

      private:
        double half_gamma(int64_t b) const { return 0.5 * task.precision[b]; }

        void settle_all(int64_t b) {
            afar[b].settle(half_gamma(b));
            own[b].settle(half_gamma(b));
        }

        void read(int64_t n) {
            const size_t size = size_t(C) * H * W;
            for (int r = 0; r < C * H; ++r) {
                T* to = image + size_t(r) * at.stride_;
                if (task.bytes)
                    for (int x = 0; x < W; ++x) to[x] = T(float(task.bytes[n * size + size_t(r) * W + x]) / 127.5f - 1.0f);
                else
                    for (int x = 0; x < W; ++x) to[x] = T(task.floats[n * size + size_t(r) * W + x]);
            }
        }

        size_t area() const { return size_t(at.from_afar_.empty() ? 1 : W) * at.stride_; }
        size_t longest() const {
            // Beyond the last row: what loads at an offset may touch, of lanes that nobody needs.
            return std::max(size_t(at.from_afar_.empty() ? 0 : W) * at.lanes_ + at.columns_.window + 2 * L, size_t(at.ribbon_));
        }

        // All pairs of the rows of a run; with OWN those of equal columns only.
        template <bool OWN>
        void along(int64_t b, const Run& run) {
            const T* y = at.queries_ + size_t(b) * C * plane;
            const int window_rows = at.rows_.window;
            if (OWN) std::fill_n(static_cast<T*>(sums), at.ribbon_, T(0));
            for (int k = 0; k < run.count + window_rows - 1; ++k) {
                const int p = at.rows_.row(run.p + k - at.rows_.before), q = at.rows_.row(run.q + k - at.rows_.before);
                const T* x = p < 0 ? zeros : y + size_t(p) * at.stride_;
                const T* phi = q < 0 ? zeros : image + size_t(q) * at.stride_;
                switch (window_rows) {
                    case 1: add_few<OWN, 1>(k, x, phi); break;
                    case 3: add_few<OWN, 3>(k, x, phi); break;
                    case 5: add_few<OWN, 5>(k, x, phi); break;
                    case 7: add_few<OWN, 7>(k, x, phi); break;
                    default: add_many<OWN>(k, x, phi);
                }
                const int t = k - window_rows + 1;
                if (t < 0) continue;
                const int query_row = at.rows_.row(run.p + t);
                const T* centres = image + size_t(at.rows_.row(run.q + t)) * at.stride_;
                if (OWN)
                    match_own_place(b, query_row, centres);
                else
                    match_from_afar(b, query_row, centres);
            }
        }

        // ---- sums over rows

        // E of a query row against a training row: for two groups of query columns at a time, for every training column b.
        // `sink(place, b, a, e)` receives each group; `place` counts the numbers before it.
        template <bool OWN, class Sink>
        void energies(const T* x, const T* phi, Sink sink) const {
            int a = at.stride_;
            if (at.stride_ / L % 2) energies_at<OWN, 1>(x, phi, a -= L, sink);
            while (a > 0) energies_at<OWN, 2>(x, phi, a -= 2 * L, sink);
        }

        template <bool OWN, int G, class Sink>
        void energies_at(const T* x, const T* phi, int a, Sink sink) const {
            constexpr int held = CHANNELS ? CHANNELS : 1;
            const int channels = CHANNELS ? CHANNELS : C, columns = OWN ? 1 : W, stride = at.stride_;
            const size_t apart = plane;
            V row[held][G];
            for (int c = 0; CHANNELS && c < channels; ++c)
                for (int g = 0; g < G; ++g) row[c][g] = load(x + c * apart + a + g * L);
            for (int b = 0; b < columns; ++b) {
                V e[G] = {};
                for (int c = 0; c < channels; ++c) {
                    for (int g = 0; g < G; ++g) {
                        const V mine = CHANNELS ? row[c % held][g] : load(x + c * apart + a + g * L);
                        const V difference = mine - (OWN ? load(phi + c * apart + a + g * L) : splat(phi[c * apart + b]));
                        e[g] += difference * difference;
                    }
                }
                for (int g = G - 1; g >= 0; --g) sink(size_t(b) * stride + a + g * L, b, a + g * L, e[g]);
            }
        }

        // Where V[b][a] goes. Groups come with a falling, so that on a torus the first columns, which follow the last, are
        // written over whatever fills up the last group.
        template <bool OWN>
        void put(int b, int a, V sum) {
            if (OWN) return store(sums + at.columns_.before + a, sum);
            T* to = sums + size_t(b) * at.lanes_ + a;
            store(to, sum);
            if (at.columns_.torus && a < at.columns_.window - 1) store(to + W, sum);
        }

        // Row k of a run; V is complete from row WINDOW - 1 on.
        template <bool OWN, int WINDOW>
        void add_few(int k, const T* x, const T* phi) {
            const size_t size = area();
            T* newest = window + size_t(k % WINDOW) * size;
            const T* others[WINDOW];
            for (int r = 1; r < WINDOW; ++r) others[r] = window + size_t((k + r) % WINDOW) * size;
            const bool complete = k >= WINDOW - 1;
            energies<OWN>(x, phi, [&](size_t place, int b, int a, V e) {
                if (WINDOW > 1) store(newest + place, e);
                if (!complete) return;
                for (int r = 1; r < WINDOW; ++r) e += load(others[r] + place);
                put<OWN>(b, a, e);
            });
        }

        // A window that begins in one block of rows is a suffix of it and a prefix of the next.
        template <bool OWN>
        void add_many(int k, const T* x, const T* phi) {
            const size_t size = area();
            const int rows = at.rows_.window, t = k - rows + 1, begun = t < 0 ? -1 : t % rows;
            if (begun <= 0) {  // still filling the block
                T* last = window + size_t(t < 0 ? k : rows - 1) * size;
                energies<OWN>(x, phi, [&](size_t place, int, int, V e) { store(last + place, e); });
                if (t < 0) return;
                for (int r = rows - 2; r >= 0; --r)
                    for (size_t i = 0; i < size; i += L)
                        store(window + r * size + i, load(window + r * size + i) + load(window + (r + 1) * size + i));
                for (int a = at.stride_ - L; a >= 0; a -= L)
                    for (int b = 0; b < (OWN ? 1 : W); ++b) put<OWN>(b, a, load(window + size_t(b) * at.stride_ + a));
                std::fill_n(static_cast<T*>(prefix), size, T(0));
                return;
            }
            T* spent = window + size_t(begun - 1) * size;  // its place is taken by a row of the next block
            const T* suffix = window + size_t(begun) * size;
            energies<OWN>(x, phi, [&](size_t place, int b, int a, V e) {
                store(spent + place, e);
                e += load(prefix + place);
                store(prefix + place, e);
                put<OWN>(b, a, load(suffix + place) + e);
            });
        }

        // ---- pixels that match from afar

        void match_from_afar(int64_t b, int query_row, const T* centres) {
            double_columns();
            T* belief = afar[b].row(query_row);
            switch (at.diagonal_.level.size()) {
                case 1: absorb_row<1>(b, belief, centres); break;
                case 3: absorb_row<3>(b, belief, centres); break;
                case 5: absorb_row<5>(b, belief, centres); break;
                case 7: absorb_row<7>(b, belief, centres); break;
                default: absorb_row<0>(b, belief, centres);
            }
        }

        // What is summed at a level: V, or sums of 2^level of its columns.
        const T* summed(int level) const { return level == 0 ? sums : doubled[level - 1]; }

        // Sums of 2, 4, 8 ... columns along the diagonals of V.
        void double_columns() {
            const bool round = at.columns_.inner() == W && at.columns_.torus;
            for (int l = 0; l < at.diagonal_.levels; ++l) {
                const int half = 1 << l;
                const T* from = summed(l);
                const int rows = round ? W : W - 2 * half + 1;
                const int width = padded<T>(int(at.from_afar_.size()) + at.columns_.window - 2 * half);
                for (int i = 0; i < rows; ++i) {
                    const T* first = from + size_t(i) * at.lanes_;
                    const T* second = from + size_t(at.wrapped_[i + half]) * at.lanes_ + half;
                    T* to = doubled[l] + size_t(i) * at.lanes_;
                    for (int j = 0; j < width; j += L) store(to + j, load(first + j) + load(second + j));
                }
            }
        }

        template <int TERMS>
        void absorb_row(int64_t b, T* belief, const T* centres) {
            const int lanes = int(at.from_afar_.size());
            int j = 0;
            for (; j + 2 * L <= lanes; j += 2 * L) absorb<TERMS, 2>(b, j, belief + j, lanes, centres);
            for (; j < lanes; j += L) absorb<TERMS, 1>(b, j, belief + j, lanes, centres);
        }

        template <int TERMS, int G>
        void absorb(int64_t b, int lane, T* belief, int lanes, const T* centres) {
            const T scale = T(half_gamma(b) * log2_e), slack = T(task.skip / half_gamma(b));
            const int terms = TERMS ? TERMS : int(at.diagonal_.level.size());
            const T* from[TERMS ? TERMS : most_terms];
            const int* place[TERMS ? TERMS : most_terms];  // in which row of V the i-th window begins
            for (int k = 0; k < terms; ++k) {
                from[k] = summed(at.diagonal_.level[k]) + at.diagonal_.offset[k] + lane;
                place[k] = at.place_.data() + at.diagonal_.offset[k];
            }
            Sums<G> sums(*this, belief, lanes, scale, slack);
            const int matched = at.columns_.inner();
            const int* centre_column = at.wrapped_.data() + at.columns_.before;
            for (int i = 0; i < matched; ++i) {
                V d[G] = {};
                for (int k = 0; k < terms; ++k) {
                    const T* row = from[k] + place[k][i];
                    for (int g = 0; g < G; ++g) d[g] += load(row + g * L);
                }
                const T* centre = centres + centre_column[i];
                for (int g = 0; g < G; ++g)
                    sums.add(g, d[g], [&](int c) { return splat(centre[c * plane]); });
            }
            sums.close();
        }

        // ---- pixels that match their own place

        void match_own_place(int64_t b, int query_row, const T* centres) {
            // Zeros on either side of V: nothing lies beyond the border. What fills up the last group is none of the image.
            std::fill(sums + at.columns_.before + W, sums + at.ribbon_, T(0));
            for (int l = 0; l < at.diagonal_.levels; ++l)
                for (int j = 0, half = 1 << l; j + half + L <= at.ribbon_; j += L)
                    store(doubled[l] + j, load(summed(l) + j) + load(summed(l) + j + half));
            const int lanes = int(at.own_place_.size());
            const T scale = T(half_gamma(b) * log2_e), slack = T(task.skip / half_gamma(b));
            T* belief = own[b].row(query_row);
            for (int a = 0; a < lanes; a += L) {
                V d = {};
                for (size_t k = 0; k < at.diagonal_.level.size(); ++k) d += load(summed(at.diagonal_.level[k]) + at.diagonal_.offset[k] + a);
                Sums<1> row(*this, belief + a, lanes, scale, slack);
                row.add(0, d, [&](int c) { return load(centres + c * plane + a); });
                row.close();
            }
        }

        // ---- the streamed softmax of `G` groups of lanes, in registers while a row lasts

        template <int G>
        struct Sums {
            static constexpr int channels = CHANNELS ? CHANNELS : 1;
            Worker& worker;
            T* belief;
            const int lanes;
            const T scale, slack;
            V least[G], limit[G], weight[G], value[channels][G];

            Sums(Worker& worker, T* belief, int lanes, T scale, T slack)
                : worker(worker), belief(belief), lanes(lanes), scale(scale), slack(slack) {
                for (int g = 0; g < G; ++g) {
                    least[g] = load(belief + g * L);
                    limit[g] = least[g] + slack;
                    weight[g] = load(belief + lanes + g * L);
                    for (int c = 0; CHANNELS && c < channels; ++c) value[c][g] = load(belief + (2 + c) * lanes + g * L);
                }
            }

            template <class Centre>
            void add(int g, V d, Centre centre) {
                if (!any_less(d, limit[g])) return;
                ++worker.kept;
                if (any_less(d, least[g])) {
                    const V lower = smaller<T>(d, least[g]);
                    const V fade = exp2<T>((lower - least[g]) * scale);
                    least[g] = lower;
                    limit[g] = lower + slack;
                    weight[g] *= fade;
                    each_channel(g, [&](int, V sum) { return sum * fade; });
                }
                const V w = exp2<T>((least[g] - d) * scale);
                weight[g] += w;
                each_channel(g, [&](int c, V sum) { return sum + w * centre(c); });
            }

            void close() {
                for (int g = 0; g < G; ++g) {
                    store(belief + g * L, least[g]);
                    store(belief + lanes + g * L, weight[g]);
                    for (int c = 0; CHANNELS && c < channels; ++c) store(belief + (2 + c) * lanes + g * L, value[c][g]);
                }
            }

          private:
            // Channels known at compile time stay in registers, any other number in memory.
            template <class F>
            void each_channel(int g, F f) {
                if constexpr (CHANNELS > 0) {
                    for (int c = 0; c < channels; ++c) value[c][g] = f(c, value[c][g]);
                } else {
                    for (int c = 0; c < worker.C; ++c) {
                        T* sum = belief + (2 + c) * lanes + g * L;
                        store(sum, f(c, load(sum)));
                    }
                }
            }
        };

        const Patches& at;
        const Task<T>& task;
        const int C, H, W;
        const size_t plane;
        Buffer<T> image, zeros;
        Buffer<T> window, prefix;         // rows of E, or their suffixes: (window, W, stride); the prefix (W, stride)
        Buffer<T> sums;                   // V: (W, lanes), or for pixels that match their own place (ribbon,)
        std::vector<Buffer<T>> doubled;  // shaped like V
        std::vector<Belief<T>> afar, own;
        int64_t images = 0, settle_every;
    };

    const Task<T>& task_;
    const int C, H, W, stride_;
    const Axis rows_, columns_;
    const Diagonal diagonal_;
    const std::vector<Run> runs_;
    const std::vector<int> from_afar_, own_place_;  // what column a lane stands for
    const int lanes_, ribbon_;
    Buffer<T> queries_;
    std::vector<int> wrapped_, place_;  // column i mod W, and where its row of V begins
};

}  // namespace patchmosaic::PATCHMOSAIC_ISA
