// The one algorithm of ELS and bbELS, and of LS where it is traced: softmax over patches without unfolding one.
//
// Half the squared distance between the window round pixel p of a query and the patch round pixel q of an image is
//
//     D(p, q) = |y|²/2 + |phi|²/2 - <y, phi>,        <y, phi> = sum over the window's offsets k of y(p + k) · phi(q + k)
//
// and |y|² is the same for all patches. Vectors hold several images at once, with AVX-512 16, so that sums slide along without a shuffle.
// A run is a displacement of the rows, a band eight neighbouring displacements d of the columns. Along a run, row after row:
//
//     columns    V[a][d], the products of column a of the query and column a + d of the images over the window's rows:
//                the row that enters is added, the row that leaves is subtracted
//     diagonals  H[d], the sum of V[a + k][d] over the window's columns: slides with a, in registers
//     absorb     |phi|²/2 - H[d] < (least so far) + skip for any d?  Then weigh the patches: s += w, v += w phi(centre).
//
// Distances are multiplied by gamma and counted in units of ln 2, so that a weight is 2^-distance.
//
// Sums that slide cancel: their error is that of the products, not of their difference. At high noise, where gamma is small, it is
// harmless. At low noise the distances of patches that have a large share of all the weight are computed anew as sums of squares
// (`refine`): they are few, for shares sum to 1.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "buffer.hpp"
#include "rules.hpp"
#include "simd.hpp"
#include "softmax.hpp"
#include "task.hpp"
#include "workers.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

constexpr int64_t terms_in_float = 1024;  // weights added in T before they are passed on to float64

// ---------------------------------------------------------------------------------------------------------------------------------
// The `keep` nearest patches of each pixel, nearest first; of equally near ones those with the smaller number.

class Nearest {
  public:
    Nearest(int keep, int64_t pixels) : keep_(keep), distance_(pixels * keep), source_(pixels * keep) {}

    // Begin with the distances of those that the caller knows already: whoever is farther need not be looked at.
    void open(int64_t pixel, double base, const double* log_weights) {
        for (int i = 0; i < keep_; ++i) {
            distance_[pixel * keep_ + i] = -log_weights[i] * log2_e - base;
            source_[pixel * keep_ + i] = known;
        }
    }

    double farthest(int64_t pixel) const { return distance_[(pixel + 1) * keep_ - 1]; }

    void add(int64_t pixel, double distance, int64_t source) {
        double* distances = distance_ + pixel * keep_;
        int64_t* sources = source_ + pixel * keep_;
        if (!before(distance, source, distances[keep_ - 1], sources[keep_ - 1])) return;
        int at = keep_ - 1;
        for (; at > 0 && before(distance, source, distances[at - 1], sources[at - 1]); --at)
            distances[at] = distances[at - 1], sources[at] = sources[at - 1];
        distances[at] = distance, sources[at] = source;
    }

    // Sort those that are new into a caller's list, which holds log-weights.
    void merge(int64_t pixel, double base, const Trace& trace) const {
        double* log_weights = trace.top + pixel * keep_;
        int64_t* sources = trace.source + pixel * keep_;
        for (int i = 0; i < keep_; ++i) {
            const int64_t source = source_[pixel * keep_ + i];
            const double log_weight = -(distance_[pixel * keep_ + i] + base) / log2_e;
            if (source == known || !before(-log_weight, source, -log_weights[keep_ - 1], sources[keep_ - 1])) continue;
            int at = keep_ - 1;
            for (; at > 0 && before(-log_weight, source, -log_weights[at - 1], sources[at - 1]); --at)
                log_weights[at] = log_weights[at - 1], sources[at] = sources[at - 1];
            log_weights[at] = log_weight, sources[at] = source;
        }
    }

  private:
    static constexpr int64_t known = -1;

    static bool before(double a, int64_t a_source, double b, int64_t b_source) { return a < b || (a == b && a_source < b_source); }

    int keep_;
    Buffer<double> distance_;
    Buffer<int64_t> source_;
};

// ---------------------------------------------------------------------------------------------------------------------------------
// What the pixels of one query have learnt: the least distance met, and relative to it the sums of weights and of weighted values:
// the channels of the patches' centres, and the sum of their squares, which tells how widely they differ. A sum is kept for each lane,
// in T while few weights are added, and over all lanes in float64 for good. Traced, it also learns how the weights are spread: their
// squares, their distances, and the square of what each image's patches weigh together; and who the nearest are.

template <class T, int CHANNELS, bool TRACE>
class Belief {
    static constexpr int L = Lanes<T>::count;

  public:
    static constexpr T nothing = std::numeric_limits<T>::max() / 4;  // no patch met yet

    Belief(int channels, int64_t pixels, int keep)
        : channels_(channels),
          sums_((TRACE ? 4 : 2) + channels),
          pixels_(pixels),
          least_(pixels),
          together_(pixels),
          now_(pixels * sums_ * L),
          past_least_(pixels),
          past_(pixels * sums_),
          of_images_(TRACE ? pixels : 0),
          nearest_(keep, TRACE ? pixels : 0) {}

    T& least(int64_t pixel) { return least_[pixel]; }
    // The distance at which one patch would weigh as much as all that were met, or some of them: it only comes nearer.
    T together(int64_t pixel) const { return together_[pixel]; }
    // The weight, then the value of each channel, then the sum of squares; traced, the squared weight and the weighted distance.
    T* sums(int64_t pixel) { return now_ + pixel * sums_ * L; }
    Nearest& nearest() { return nearest_; }

    // Begin where an earlier sum ended; `base` is what the distances of each pixel are short of.
    void open(const double* m, const double* s, const double* base) {
        for (int64_t pixel = 0; pixel < pixels_; ++pixel) {
            const bool met = std::isfinite(m[pixel]);
            least_[pixel] = met ? T(-m[pixel] * log2_e - base[pixel]) : nothing;
            together_[pixel] = met ? T(double(least_[pixel]) - std::log2(s[pixel])) : nothing;
            past_least_[pixel] = double(least_[pixel]);
        }
    }

    // Of all that were met until now.
    NOINLINE void weigh_together(int64_t pixel) {
        const T* fresh = sums(pixel);
        double all = past_[pixel * sums_] * std::exp2(double(least_[pixel]) - past_least_[pixel]);
        for (int lane = 0; lane < L; ++lane) all += double(fresh[lane]);
        if (all > 0) together_[pixel] = T(double(least_[pixel]) - std::log2(all));
    }

    // Pass on to float64 what the first `lanes` lanes added since, and forget the others.
    void settle(int lanes = L) {
        for (int64_t pixel = 0; pixel < pixels_; ++pixel) {
            T* fresh = sums(pixel);
            double* kept = past_ + pixel * sums_;
            const double nearer = past_least_[pixel] - double(least_[pixel]), fade = std::exp2(-nearer);
            past_least_[pixel] = double(least_[pixel]);
            if constexpr (TRACE) {
                kept[channels_ + 2] *= fade;  // and once more below
                kept[channels_ + 3] += nearer * kept[0];
                double& of_images = of_images_[pixel] *= fade * fade;
                for (int lane = 0; lane < lanes; ++lane) of_images += double(fresh[lane]) * double(fresh[lane]);
            }
            for (int slot = 0; slot < sums_; ++slot) {
                double sum = 0;
                for (int lane = 0; lane < lanes; ++lane) sum += double(fresh[slot * L + lane]);
                kept[slot] = kept[slot] * fade + sum;
            }
            std::fill_n(fresh, sums_ * L, T(0));
        }
    }

    // Add all to the sums of a caller (see PosteriorSum.merged and TracedSum.merged), whose values are not centred.
    void merge(const double* base, const T* centre, double* m, double* s, double* v, const Trace& trace) const {
        for (int64_t pixel = 0; pixel < pixels_; ++pixel) {
            const double* kept = past_ + pixel * sums_;
            if constexpr (TRACE) nearest_.merge(pixel, base[pixel], trace);
            if (kept[0] == 0) continue;
            const double mine = -(past_least_[pixel] + base[pixel]) / log2_e;
            const auto [peak, theirs_fade, mine_fade] = Peak(m[pixel], mine);
            if constexpr (TRACE) {
                const double farther = s[pixel] > 0 ? (peak - m[pixel]) * s[pixel] : 0;
                trace.surprise[pixel] = (trace.surprise[pixel] + farther) * theirs_fade + (kept[channels_ + 3] / log2_e + (peak - mine) * kept[0]) * mine_fade;
                trace.squares[pixel] = trace.squares[pixel] * theirs_fade * theirs_fade + kept[channels_ + 2] * mine_fade * mine_fade;
                trace.image_squares[pixel] = trace.image_squares[pixel] * theirs_fade * theirs_fade + of_images_[pixel] * mine_fade * mine_fade;
            }
            m[pixel] = peak;
            s[pixel] = s[pixel] * theirs_fade + kept[0] * mine_fade;
            double squares = kept[1 + channels_];
            for (int c = 0; c <= channels_; ++c) {
                const double shift = c < channels_ ? double(centre[c]) : 0;
                double& sum = v[c * pixels_ + pixel];
                sum = sum * theirs_fade + (c < channels_ ? kept[1 + c] + shift * kept[0] : squares) * mine_fade;
                squares += shift * (2 * kept[1 + c] + shift * kept[0]);
            }
        }
    }

  private:
    int channels_, sums_;
    int64_t pixels_;
    Buffer<T> least_, together_, now_;
    Buffer<double> past_least_, past_, of_images_;
    Nearest nearest_;
};

// ---------------------------------------------------------------------------------------------------------------------------------
// The kernel. CHANNELS = 0 reads the number of channels at run time.

template <class T, int CHANNELS, bool TRACE>
class Patches {
    using V = vec<T>;
    static constexpr int L = Lanes<T>::count;
    static constexpr int width = 8;  // of a band
    // Columns of the query, and rows, whose products are added at once: so many factors fit the registers.
    static constexpr int together = register_bytes == 64 ? 4 : 2, several = CHANNELS == 1 ? 4 : 2;
    static constexpr int margin = width + together;  // columns of the images that are there beyond the last
    static constexpr T nothing = Belief<T, CHANNELS, TRACE>::nothing, never = std::numeric_limits<T>::infinity();

    // Displacements of columns that slide together: pixel a of the query meets the columns a + shift, and the `count` - 1 next, for
    // `length` pixels from `first` on.
    struct Band {
        int first, length, shift, count;
    };

    // A query, less the centre; for each pixel the distance that is left where the patch is zero; and what the error of a sliding
    // sum cannot exceed. `scale` turns half squares into distances.
    struct Query {
        Buffer<T> y, scaled, negative;  // (C, H, W); the last is -scaled, for what is taken away
        Buffer<double> square, base;
        Buffer<T> reach;  // beyond the least distance so far, a sliding sum may seem so much further and count
        double scale_exactly;
        T scale, error, anew_within;
        bool refine;
    };

  public:
    explicit Patches(const Task<T>& task)
        : task_(task),
          C(CHANNELS ? CHANNELS : task.channels),
          H(task.height),
          W(task.width),
          pixels_(int64_t(H) * W),
          rows_(task.rule, H, task.patch_size),
          columns_(task.rule, W, task.patch_size),
          stride_(width + W + margin),
          runs_(runs(task.rule, rows_)),
          bands_(bands()),
          open_(W + 2 * width, 1),
          column_(4 * W) {
        for (int x = -W; x < 3 * W; ++x) column_[x + W] = columns_.torus ? modulo(x, W) : x;
        for (int x = -width; x < W + width; ++x)
            for (int d = 0; d < width; ++d) {
                const int column = columns_.torus ? modulo(x + d, W) : x + d;
                if (column < columns_.low || column >= columns_.high) open_[x + width] = 0;
            }
        for (int64_t b = 0; b < task.batch; ++b) queries_.push_back(prepared(b));
    }

    // Returns how many vectors of patches were weighed.
    int64_t add() { return deal_out<Worker>(*this, task_.start, task_.stop, L, task_.threads); }

  private:
    std::vector<Band> bands() const {
        std::vector<Band> found;
        const int n = columns_.inner(), low = columns_.low, high = columns_.high;
        if (n == 0) return found;
        if (columns_.torus) {
            for (int d = 0; d < W; d += width) {
                const int length = std::min(W, n + width - 1);
                found.push_back({length == W ? 0 : modulo(low - width + 1 - d, W), length, d, std::min(width, W - d)});
            }
        } else {
            for (int d = 1 - n; d < n; d += width) {
                const int first = std::max(low, low - d - width + 1), last = std::min(high, high - d);
                found.push_back({first, last - first, d, std::min(width, n - d)});
            }
        }
        return found;
    }

    Query prepared(int64_t b) const {
        // At a precision of zero all weigh alike, as they do at the smallest there is, by which what is infinitely far stays so.
        const double scale = std::max(task_.precision[b] * log2_e, double(std::numeric_limits<T>::min()));
        Query query{Buffer<T>(C * pixels_), Buffer<T>(C * pixels_), Buffer<T>(C * pixels_), Buffer<double>(pixels_), Buffer<double>(pixels_), Buffer<T>(pixels_), scale, T(scale), 0, T(task_.anew_within[b] * log2_e), task_.anew_within[b] > -INFINITY};
        double largest = 0, brightest = 0;
        for (int c = 0; c < C; ++c) {
            brightest = std::max(brightest, 1.0 + std::fabs(double(task_.centre[c])));
            for (int64_t i = 0; i < pixels_; ++i) {
                const T y = task_.queries[(b * C + c) * pixels_ + i] - task_.centre[c];
                query.y[c * pixels_ + i] = y;
                query.scaled[c * pixels_ + i] = T(scale * double(y));
                query.negative[c * pixels_ + i] = -query.scaled[c * pixels_ + i];
                query.square[i] += 0.5 * scale * double(y) * double(y);
                largest = std::max(largest, std::fabs(double(y)));
            }
        }
        box_sum(query.square, rows_, W, 1, W);
        box_sum(query.square, columns_, 1, W, H);
        // Each of so many additions rounds what is at most the size of a whole window.
        const double area = double(rows_.window) * columns_.window * C, additions = C * (rows_.window + 2 * H) + columns_.window + 2 * W;
        query.error = T(std::numeric_limits<T>::epsilon() * scale * area * additions * (largest + brightest) * (largest + brightest));
        for (int64_t i = 0; i < pixels_; ++i) {
            if (!query.refine) query.base[i] = query.square[i];
            query.reach[i] = T(task_.skip * log2_e - (query.refine ? query.square[i] - double(query.error) : 0.0));
        }
        return query;
    }

    // Sums over the window of an axis, of `lines` lines whose numbers lie `step` apart.
    static void box_sum(double* data, const Axis& axis, int step, int between, int lines) {
        Buffer<double> line(axis.side);
        for (int i = 0; i < lines; ++i) {
            double* at = data + int64_t(i) * between;
            for (int r = 0; r < axis.side; ++r) line[r] = at[int64_t(r) * step];
            for (int r = 0; r < axis.side; ++r) {
                double sum = 0;
                for (int k = 0; k < axis.window; ++k) {
                    const int row = axis.row(r - axis.before + k);
                    if (row >= 0) sum += line[row];
                }
                at[int64_t(r) * step] = sum;
            }
        }
    }

    class Worker {
      public:
        explicit Worker(const Patches& at)
            : at(at),
              task(at.task_),
              C(CHANNELS ? CHANNELS : at.C),
              H(at.H),
              W(at.W),
              images(size_t(C + 1) * H * at.stride_ * L),
              half_square(size_t(H) * at.stride_ * L),
              own_half_square(at.columns_.torus ? 0 : at.pixels_ * L),
              products(size_t(W + at.columns_.window) * width * L),
              zeros(C * at.pixels_),
              line(size_t(std::max(H, W)) * L) {
            for (const Query& query : at.queries_) {
                beliefs.emplace_back(C, at.pixels_, task.trace.keep);
                const int64_t b = int64_t(beliefs.size()) - 1;
                beliefs[b].open(task.m + b * at.pixels_, task.s + b * at.pixels_, query.base);
                if constexpr (TRACE)
                    for (int64_t pixel = 0; pixel < at.pixels_; ++pixel)
                        beliefs[b].nearest().open(pixel, query.base[pixel], traced(b).top + pixel * task.trace.keep);
            }
            const int64_t met = std::max(1, at.rows_.inner()) * std::max(1, at.columns_.inner());
            // Traced after every group: a lane's sum is then that of one image.
            settle_every = TRACE ? 1 : std::max<int64_t>(1, terms_in_float / met);
        }

        // The images from `first` to `last`, at most L of them, meet every query.
        void meet(int64_t first, int64_t last) {
            read(first, last);
            const bool settle = ++groups % settle_every == 0, partial = lanes < L;
            for (int64_t b = 0; b < task.batch; ++b) {
                now = &at.queries_[b];
                belief = &beliefs[b];
                if (partial) belief->settle();
                for (const Run& run : at.runs_) {
                    for (const Band& band : at.bands_) meet_from_afar(run, band);
                    if (!at.columns_.torus) meet_own_place(run);
                }
                if (settle || partial) belief->settle(lanes);
            }
        }

        void merge() {
            for (int64_t b = 0; b < task.batch; ++b) {
                beliefs[b].settle();
                beliefs[b].merge(at.queries_[b].base, task.centre, task.m + b * at.pixels_, task.s + b * at.pixels_, task.v + b * (C + 1) * at.pixels_, traced(b));
            }
        }

        int64_t kept = 0;

      private:
        // What is traced of a query.
        Trace traced(int64_t b) const {
            const Trace& all = task.trace;
            const int64_t from = b * at.pixels_;
            if (!TRACE) return all;
            return {all.keep, all.surprise + from, all.squares + from, all.image_squares + from, all.top + from * all.keep, all.source + from * all.keep};
        }

        // ---- the images: pixels of several side by side, and half the squares of their patches

        void read(int64_t first, int64_t last) {
            lanes = int(last - first);
            const int64_t size = C * at.pixels_;
            for (int lane = 0; lane < L; ++lane) {
                const int64_t n = std::min(first + lane, last - 1), image = task.index ? task.index[n] : n;
                image_of[lane] = image;
                from_bytes[lane] = task.bytes ? task.bytes + image * size : nullptr;
                from_floats[lane] = task.floats ? task.floats + image * size : nullptr;
            }
            for (int r = 0; r < C * H; ++r) {
                T* row = images + (int64_t(r) * at.stride_ + width) * L;
                if (task.bytes)
                    side_by_side<T>(from_bytes, int64_t(r) * W, W, task.centre[r / H], row);
                else
                    side_by_side<T>(from_floats, int64_t(r) * W, W, task.centre[r / H], row);
                if (at.columns_.torus)
                    for (int j = 0; j < margin; ++j) store(row + (W + j) * L, load(row + j % W * L));
            }
            for (int r = 0; r < H; ++r) {
                T* row = half_square + (int64_t(r) * at.stride_ + width) * L;
                for (int x = 0; x < W; ++x) {
                    V sum{};
                    for (int c = 0; c < C; ++c) {
                        const V phi = load(pixel(c, r, x));
                        sum += phi * phi;
                    }
                    store(row + x * L, sum * T(0.5));
                    store(images + ((int64_t(C) * H + r) * at.stride_ + width + x) * L, sum);
                }
                for (int j = 0; at.columns_.torus && j < margin; ++j) store(images + ((int64_t(C) * H + r) * at.stride_ + width + W + j) * L, load(pixel(C, r, j % W)));
            }
            for (int x = 0; x < W; ++x) slide(half_square + (width + x) * L, at.rows_, at.stride_);
            for (int r = 0; r < H; ++r) close_row(r);
        }

        const T* pixel(int c, int row, int column) const { return images + ((int64_t(c) * H + row) * at.stride_ + width + column) * L; }

        // Columns that nobody may match from afar, and lanes without an image, are never near.
        void close_row(int r) {
            const Axis& columns = at.columns_;
            T* row = half_square + (int64_t(r) * at.stride_ + width) * L;
            slide(row, columns, 1);
            for (int x = 0; x < W; ++x)
                for (int lane = lanes; lane < L; ++lane) row[x * L + lane] = never;
            if (!columns.torus) std::copy_n(row, W * L, own_half_square + int64_t(r) * W * L);
            for (int x = -width; x < W + width; ++x) {
                const int column = columns.torus ? modulo(x, W) : x;
                if (column < columns.low || column >= columns.high)
                    store(row + x * L, splat(never));
                else if (x >= W)
                    store(row + x * L, load(row + column * L));
            }
        }

        // Sums over the window of an axis, of the vectors that lie `step` apart.
        void slide(T* data, const Axis& axis, int64_t step) {
            V sum{};
            for (int r = 0; r < axis.side; ++r) store(line + r * L, load(data + r * step * L));
            for (int k = 0; k < axis.window; ++k) {
                const int row = axis.row(k - axis.before);
                if (row >= 0) sum += load(line + row * L);
            }
            for (int r = 0;; ++r) {
                store(data + r * step * L, sum);
                if (r + 1 == axis.side) return;
                const int enters = axis.row(r + 1 + axis.after()), leaves = axis.row(r - axis.before);
                if (enters >= 0) sum += load(line + enters * L);
                if (leaves >= 0) sum -= load(line + leaves * L);
            }
        }

        // Row p of the query and row q of the images; zeros beyond the border. Products with a row that leaves are taken away.
        struct Rows {
            const T *y, *phi;
        };
        Rows rows(const Run& run, int k, bool leaves = false) const {
            const int p = at.rows_.row(run.p + k - at.rows_.before), q = at.rows_.row(run.q + k - at.rows_.before);
            // A product of anything with zero is zero: where one row is beyond the border, the other may be any.
            return {p < 0 || q < 0 ? zeros : (leaves ? now->negative : now->scaled) + p * W, pixel(0, std::max(q, 0), 0)};
        }

        // ---- pixels that match from afar

        void meet_from_afar(const Run& run, const Band& band) {
            const int window = at.rows_.window, begin = band.first - at.columns_.before, length = band.length + at.columns_.window - 1;
            const int columns = at.columns_.torus ? std::min(W, length) : length;
            std::fill_n(static_cast<T*>(products), columns * width * L, T(0));
            int k = 0;
            for (; k + several < window; k += several) {  // no window is complete yet
                std::array<Rows, several> enter;
                for (int n = 0; n < several; ++n) enter[n] = rows(run, k + n);
                add_products(begin, columns, band.shift, enter);
            }
            for (; k < run.count + window - 1; ++k) {
                const Rows enters = rows(run, k);
                if (k < window)
                    add_products(begin, columns, band.shift, std::array{enters});
                else
                    add_products(begin, columns, band.shift, std::array{enters, rows(run, k - window, true)});
                const int t = k - window + 1;  // the pixel whose window is complete
                if (t < 0) continue;
                const int p = at.rows_.row(run.p + t), q = at.rows_.row(run.q + t);
                if (band.count == width)
                    slide_diagonals<true>(p, q, band, columns);
                else
                    slide_diagonals<false>(p, q, band, columns);
            }
        }

        // On a torus columns wrap round.
        int column(int a) const { return at.column_[a + W]; }

        // To V of `columns` columns, from column `begin` of the query on, add the products of rows.
        template <size_t ROWS>
        void add_products(int begin, int columns, int shift, const std::array<Rows, ROWS> met) {
            T* to = products;
            int i = 0;
            for (; i + together <= columns; i += together, to += together * width * L) add_products<together>(to, begin + i, shift, met);
            for (; i < columns; ++i, to += width * L) add_products<1>(to, begin + i, shift, met);
        }

        // The same of neighbouring columns, which share what they read of the images.
        template <int COLUMNS, size_t ROWS>
        INLINE void add_products(T* to, int a, int shift, const std::array<Rows, ROWS> met) {
            constexpr int held = CHANNELS ? CHANNELS : 1;  // channels known at compile time are added at once
            const int64_t y_apart = at.pixels_, phi_apart = int64_t(H) * at.stride_ * L;
            int own[COLUMNS];
            for (int n = 0; n < COLUMNS; ++n) own[n] = column(a + n);
            const int64_t from = int64_t(column(own[0] + shift)) * L;
            for (int c0 = 0; c0 < (CHANNELS ? held : C); c0 += held) {
                V y[ROWS][held][COLUMNS];
                for (int n = 0; n < COLUMNS; ++n)
                    for (size_t r = 0; r < ROWS; ++r)
                        for (int c = 0; c < held; ++c) y[r][c][n] = splat(met[r].y[(c0 + c) * y_apart + own[n]]);
                const T* phi[ROWS];
                for (size_t r = 0; r < ROWS; ++r) phi[r] = met[r].phi + c0 * phi_apart + from;
#pragma GCC unroll 11
                for (int d = 0; d < width + COLUMNS - 1; ++d) {
                    V sum[COLUMNS];
                    for (int n = 0; n < COLUMNS; ++n)
                        if (0 <= d - n && d - n < width) sum[n] = load(to + (n * width + d - n) * L);
#pragma GCC unroll 8
                    for (int c = 0; c < held; ++c)
#pragma GCC unroll 8
                        for (size_t r = 0; r < ROWS; ++r) {
                            const V value = held_in_register(load(phi[r] + c * phi_apart + d * L));
                            for (int n = 0; n < COLUMNS; ++n)
                                if (0 <= d - n && d - n < width) sum[n] += y[r][c][n] * value;
                        }
                    for (int n = 0; n < COLUMNS; ++n)
                        if (0 <= d - n && d - n < width) store(to + (n * width + d - n) * L, sum[n]);
                }
            }
        }

        // The distances of the pixels of row p to the patches round row q that the band lets them meet.
        template <bool WHOLE>
        void slide_diagonals(int p, int q, const Band& band, int columns) {
            const int window = at.columns_.window, count = WHOLE ? width : band.count, length = band.length;
            const T* half_row = half_square + (int64_t(q) * at.stride_ + width) * L;
            const V scale = splat(now->scale);
            V sum[width] = {};
            for (int k = 0; k < window; ++k)
                for (int d = 0; d < width; ++d) sum[d] += load(products + (k * width + d) * L);
            const T *leaves = products, *enters = products + window % columns * width * L, *end = products + columns * width * L;
            for (int i = 0;;) {
                const int a = column(band.first + i), b = column(a + band.shift);
                const T* half = half_row + b * L;
                const int64_t pixel = int64_t(p) * W + a;
                V distance[width];
                for (int d = 0; d < width; ++d) distance[d] = load(half + d * L) * scale - sum[d];
                const V least = nearest_of<WHOLE>(distance, count);
                if (any_at_most(least, splat(reach(pixel)))) absorb<WHOLE>(pixel, q, b, count, distance, least);
                if (++i == length) return;
                for (int d = 0; d < width; ++d) sum[d] += load(enters + d * L) - load(leaves + d * L);
                leaves += width * L, enters += width * L;
                if (enters == end) enters = products;
            }
        }

        // ---- pixels that match their own column

        void meet_own_place(const Run& run) {
            const Axis& columns = at.columns_;
            const int window = at.rows_.window, before = columns.before, after = columns.after();
            std::fill_n(static_cast<T*>(line), W * L, T(0));
            for (int k = 0; k < run.count + window - 1; ++k) {
                const Rows enters = rows(run, k), leaves = k < window ? Rows{} : rows(run, k - window);
                for (int a = 0; a < W; ++a) {
                    V sum = load(line + a * L);
                    for (int c = 0; c < C; ++c) {
                        const int64_t y = c * at.pixels_ + a, phi = (int64_t(c) * H * at.stride_ + a) * L;
                        sum += enters.y[y] * load(enters.phi + phi);
                        if (leaves.y) sum -= leaves.y[y] * load(leaves.phi + phi);
                    }
                    store(line + a * L, sum);
                }
                const int t = k - window + 1, p = run.p + t, q = run.q + t;
                if (t < 0) continue;
                V sum{};
                for (int a = 0; a < std::min(after, W); ++a) sum += load(line + a * L);
                for (int a = 0; a < W; ++a) {
                    if (a + after < W) sum += load(line + (a + after) * L);
                    if (a - before - 1 >= 0) sum -= load(line + (a - before - 1) * L);
                    if (a >= columns.low && a < columns.high) continue;
                    const int64_t pixel = int64_t(p) * W + a;
                    V distance[width];
                    distance[0] = load(own_half_square + (int64_t(q) * W + a) * L) * now->scale - sum;
                    if (any_at_most(distance[0], splat(reach(pixel)))) absorb<false>(pixel, q, a, 1, distance, distance[0]);
                }
            }
        }

        // In pairs, so that it takes three steps and not eight.
        template <bool WHOLE>
        static INLINE V nearest_of(const V (&distance)[width], int count) {
            if constexpr (WHOLE) {
                V least[width / 2];
                for (int d = 0; d < width / 2; ++d) least[d] = smaller<T>(distance[2 * d], distance[2 * d + 1]);
                return smaller<T>(smaller<T>(least[0], least[1]), smaller<T>(least[2], least[3]));
            } else {
                V least = distance[0];
                for (int d = 1; d < width; ++d)
                    if (d < count) least = smaller<T>(distance[d], least);
                return least;
            }
        }

        // ---- the streamed softmax of a pixel

        // The farthest that a patch may seem and count, or be among the nearest.
        INLINE T reach(int64_t pixel) const {
            const T least = belief->least(pixel), beyond = now->reach[pixel];
            return TRACE ? std::max(least + beyond, T(belief->nearest().farthest(pixel) - task.skip * log2_e) + beyond) : least + beyond;
        }

        // The patches round row q and `count` columns from b on are at `distance` from the window of a pixel, the nearest of each image at
        // `least`, and one is near enough to count.
        template <bool WHOLE>
        INLINE void absorb(int64_t pixel, int q, int b, int count, V (&distance)[width], V least) {
            const T known = belief->least(pixel), slack = T(task.skip * log2_e);
            T origin = 0;  // of distances
            if (now->refine) {
                origin = known < nothing ? known : T(0);
                const T shift = T(now->square[pixel] - double(origin));
                for (int d = 0; d < width; ++d) distance[d] += shift;
                least += shift;
                if (any_at_most(least, splat(sharp(pixel, known - origin, origin)))) {
                    belief->weigh_together(pixel);
                    if (any_at_most(least, splat(sharp(pixel, known - origin, origin)))) {
                        V exact[width];  // of its own, so that `distance` stays in registers
                        std::copy_n(distance, width, exact);
                        origin = refine(pixel, q, b, count, exact, least, origin);
                        std::copy_n(exact, width, distance);
                    }
                }
                if (!TRACE && !any_at_most(least, splat(known - origin + slack))) return;
            }
            if constexpr (TRACE) {
                remember(pixel, q, b, count, distance, origin);
                if (!any_at_most(least, splat(known - origin + slack))) return;
            }
            constexpr int held = CHANNELS + 1;
            T* sums = belief->sums(pixel);
            V weight = load(sums), value[held], squares{}, distances{};
            if constexpr (TRACE) squares = load(sums + (C + 2) * L), distances = load(sums + (C + 3) * L);
            for (int c = 0; CHANNELS && c < held; ++c) value[c] = load(sums + (1 + c) * L);
            T nearest = known;
            if (any_at_most(least, splat(known - origin))) {
                belief->least(pixel) = nearest = origin + lowest(least);
                const V fade = exp2<T>(splat(nearest - known));
                if constexpr (TRACE) squares *= fade * fade, distances = fade * (distances + (known - nearest) * weight);
                weight *= fade;
                each_channel(sums, value, [&](int, V sum) { return sum * fade; });
            }
            nearest -= origin;
            const V limit = splat(nearest + slack);
            const T* centres = this->pixel(0, q, b);
            const int64_t apart = int64_t(H) * at.stride_ * L;
            const auto weigh = [&](int d) {
                const V w = exp2<T>(nearest - distance[d]);
                weight += w;
                if constexpr (TRACE) squares += w * w, distances += w * (distance[d] - nearest);
                each_channel(sums, value, [&](int c, V sum) { return sum + w * load(centres + c * apart + d * L); });
            };
            if (WHOLE && at.open_[b + width]) {  // to weigh those that do not count takes less time than to tell them apart
                kept += width;
#pragma GCC unroll 8
                for (int d = 0; d < width; ++d) weigh(d);
            } else {
#pragma GCC unroll 8
                for (int d = 0; d < width; ++d)
                    if ((WHOLE || d < count) && any_at_most(distance[d], limit)) ++kept, weigh(d);
            }
            store(sums, weight);
            if constexpr (TRACE) store(sums + (C + 2) * L, squares), store(sums + (C + 3) * L, distances);
            for (int c = 0; CHANNELS && c < held; ++c) store(sums + (1 + c) * L, value[c]);
        }

        // How far a patch may seem and have its distance computed anew; `nearest` and the answer are told from an origin.
        INLINE T sharp(int64_t pixel, T nearest, T origin) const {
            const T weighs = std::min(nearest, T(double(belief->together(pixel)) - double(origin))) + now->anew_within;
            if (!TRACE) return now->error + weighs;
            // Not infinite: what may not be matched is infinitely far and stays so.
            return std::min(now->error + std::max(weighs, T(belief->nearest().farthest(pixel) - double(origin))), std::numeric_limits<T>::max());
        }

        // Patches that are among the nearest so far.
        NOINLINE void remember(int64_t pixel, int q, int b, int count, const V (&distance)[width], T origin) {
            Nearest& nearest = belief->nearest();
            for (int d = 0; d < count; ++d) {
                if (!any_at_most(distance[d], splat(T(nearest.farthest(pixel) - double(origin))))) continue;
                const int64_t place = int64_t(q) * W + column(b + d);
                for (int lane = 0; lane < lanes; ++lane)
                    if (distance[d][lane] < never) nearest.add(pixel, double(origin) + double(distance[d][lane]), image_of[lane] * at.pixels_ + place);
            }
        }

        // Compute anew the distances, from an origin, of patches that weigh much. At low noise distances are large and nearly equal, so they
        // are summed in float64 and told from an origin among them, which is returned; `least` becomes the least of each image.
        NOINLINE T refine(int64_t pixel, int q, int b, int count, V (&distance)[width], V& least, T from) {
            const T known = belief->least(pixel), nearest = std::min(known - from, lowest(least));
            const T origin = known < nothing ? known : nearest;
            const V limit = splat(sharp(pixel, nearest, from));
            least = splat(never);
            for (int d = 0; d < count; ++d) {
                if (any_at_most(distance[d], limit)) {
                    double exact[L];
                    squared_distances(pixel, q, b + d, exact);
                    for (int lane = 0; lane < L; ++lane) distance[d][lane] = T(exact[lane] - double(origin));
                } else {
                    distance[d] += from - origin;
                }
                least = smaller<T>(distance[d], least);
            }
            return origin;
        }

        static T lowest(V d) {
            T least = d[0];
            for (int lane = 1; lane < L; ++lane) least = std::min(least, d[lane]);
            return least;
        }

        // Channels known at compile time stay in registers, any other number in memory.
        template <class Values, class F>
        void each_channel(T* sums, Values& value, F f) {
            if constexpr (CHANNELS > 0) {
                for (int c = 0; c <= CHANNELS; ++c) value[c] = f(c, value[c]);
            } else {
                for (int c = 0; c <= C; ++c) store(sums + (1 + c) * L, f(c, load(sums + (1 + c) * L)));
            }
        }

        // Between the window of a pixel and the patches round row q and column b, as sums of squares.
        void squared_distances(int64_t pixel, int q, int b, double (&total)[L]) const {
            const Axis &rows = at.rows_, &columns = at.columns_;
            const int p = int(pixel / W), a = int(pixel % W), before = columns.before, after = columns.after();
            std::fill_n(total, L, 0.0);
            for (int i = -rows.before; i <= rows.after(); ++i) {
                const int y_row = rows.row(p + i), phi_row = rows.row(q + i);
                if (y_row < 0 || phi_row < 0) continue;
                V sum{};
                for (int c = 0; c < C; ++c) {
                    const T *y = now->y + c * at.pixels_ + int64_t(y_row) * W, *phi = this->pixel(c, phi_row, 0);
                    for (int j = -before; j <= after; ++j) {
                        const int y_column = column(a + j), phi_column = column(b + j);
                        if (y_column < 0 || phi_column < 0 || y_column >= W || phi_column >= W) continue;
                        const V difference = y[y_column] - load(phi + phi_column * L);
                        sum += difference * difference;
                    }
                }
                for (int lane = 0; lane < L; ++lane) total[lane] += double(sum[lane]);
            }
            for (int lane = 0; lane < L; ++lane) total[lane] = lane < lanes ? 0.5 * now->scale_exactly * total[lane] : double(never);
        }

        const Patches& at;
        const Task<T>& task;
        const int C, H, W;
        const uint8_t* from_bytes[L];
        const float* from_floats[L];
        int64_t image_of[L];
        Buffer<T> images;           // and the sums of the squares of their channels: (C + 1, H, stride, L)
        Buffer<T> half_square;      // of the patch round each pixel: (H, stride, L)
        Buffer<T> own_half_square;  // the same for pixels that match their own place: (H, W, L)
        Buffer<T> products;         // V: (columns, width, L)
        Buffer<T> zeros;            // (C, H, W)
        Buffer<T> line;             // what slides: (longer side, L)
        std::vector<Belief<T, CHANNELS, TRACE>> beliefs;
        int lanes = 0;  // that hold an image
        int64_t groups = 0, settle_every;
        // Of the query at hand:
        const Query* now = nullptr;
        Belief<T, CHANNELS, TRACE>* belief = nullptr;
    };

    const Task<T>& task_;
    const int C, H, W;
    const int64_t pixels_;
    const Axis rows_, columns_;
    const int stride_;  // of rows of images, which go on for `width` columns before the first and for `margin` beyond the last
    const std::vector<Run> runs_;
    const std::vector<Band> bands_;
    std::vector<uint8_t> open_;  // whether all of a band's columns from x - width on may be matched
    Buffer<int> column_;  // what column x - W is, for x from 0 to 4 W
    std::vector<Query> queries_;
};

}  // namespace patchmosaic::PATCHMOSAIC_ISA
