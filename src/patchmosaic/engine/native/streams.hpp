// IS for few queries, where memory is the limit: every image is read once. A thread meets so many images that they stay in its
// second-level cache, and then
//
//     distances   half of ‖y - phi‖², each image where it lies, the next one asked of the memory meanwhile
//     weights     relative to the nearest image so far; distances that weigh too much for their rounding are computed anew
//     add         the images that weigh, times their weights; the images of the next turn are asked of the memory meanwhile
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <omp.h>

#include "buffer.hpp"
#include "images.hpp"
#include "simd.hpp"
#include "softmax.hpp"
#include "task.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

template <class T, class KEPT>
class Streams {
    using V = vec<T>;
    static constexpr int L = Lanes<T>::count;
    static constexpr int most = 64;                      // images of a turn; and additions in T, before they go on in float64
    static constexpr int added_at_once = 8;              // images, for each time that a sum is read and written
    static constexpr int64_t turn_bytes = 192 * 1024;    // of the images of a turn
    static constexpr bool bytes = Images<T, KEPT>::bytes;

  public:
    explicit Streams(const StreamTask& task, const T* queries, const double* exact_queries)
        : task_(task),
          images_(task.images),
          exact_(task.images),
          padded_(images_.padded()),
          turn_(int(std::clamp<int64_t>(turn_bytes / int64_t(padded_ * sizeof(KEPT)) / added_at_once, 1, most / added_at_once)) * added_at_once),
          y_(images_.prepared(queries)),
          exact_y_(exact_.prepared(exact_queries)) {}

    // Returns how many distances were computed anew.
    int64_t add() const {
        const int64_t count = task_.images.stop - task_.images.start, turns = (count + turn_ - 1) / turn_;
        int64_t anew = 0;
#pragma omp parallel num_threads(task_.images.threads) reduction(+ : anew)
        {
            Worker worker(*this);
#pragma omp for schedule(static)
            for (int64_t turn = 0; turn < turns; ++turn) worker.meet(turn * turn_, std::min(count, (turn + 1) * turn_));
            worker.tell(omp_get_thread_num());
            anew += worker.anew;
        }
        return anew;
    }

  private:
    // What a query has learnt, relative to the nearest image known. `sums` are of numbers as they are kept.
    struct Belief {
        double nearest, others;  // half the squared distance; the weight of images that others met
        double weight, rough;    // sums of the weights, and of the squares of those whose distances are not exact
        Buffer<double> sums;
        Buffer<T> now;  // added since
        int additions;

        double known() const { return std::max({1.0, others, weight}); }  // of all weight; the nearest weighs 1, whoever met it
    };

    class Worker {
      public:
        explicit Worker(const Streams& at) : at(at), copies(at.images_.in_place() ? 0 : at.turn_ * at.padded_), exact_copy(at.exact_.padded()) {
            for (int64_t b = 0; b < at.task_.images.batch; ++b)
                beliefs.push_back({at.task_.nearest[b], at.task_.weight[b], 0, 0, Buffer<double>(at.padded_), Buffer<T>(at.padded_), 0});
        }

        // The images from `first` to `last`, at most a turn.
        void meet(int64_t first, int64_t last) {
            const int count = int(last - first);
            const KEPT* phi[most];
            for (int n = 0; n < count; ++n) phi[n] = at.images_.piece(first + n, 0, at.padded_, copies + n * at.padded_);
            for (size_t b = 0; b < beliefs.size(); ++b) meet(b, first, count, phi);
        }

        // Write what was learnt to this thread's part of the answer.
        void tell(int thread) {
            const ImageTask& images = at.task_.images;
            for (int64_t b = 0; b < images.batch; ++b) {
                Belief& of = beliefs[b];
                settle(of);
                const int64_t place = thread * images.batch + b;
                at.task_.found_nearest[place] = of.nearest, at.task_.found_weight[place] = of.weight, at.task_.found_rough[place] = of.rough;
                for (int64_t i = 0; i < images.size; ++i)
                    at.task_.found_sums[place * images.size + i] = Images<T, KEPT>::slope * of.sums[i] + Images<T, KEPT>::offset * of.weight;
            }
        }

        int64_t anew = 0;

      private:
        void meet(int64_t b, int64_t first, int count, const KEPT* const* phi) {
            Belief& of = beliefs[b];
            const double gamma = at.task_.precision[b], skip = at.task_.skip;
            double half[most];
            for (int n = 0; n < count; ++n) half[n] = at.images_.half_squared_distance(at.y_ + b * at.padded_, phi[n], first + n + 1);
            const double least = *std::min_element(half, half + count), before = of.nearest;
            if (gamma * (least - before) > std::max(skip, at.task_.anew_within[b] - std::log(of.known()))) return;

            // A share above exp(-anew_within) of all the weight known, had these images theirs.
            alignas(64) T weight[most];
            bool stays[most];
            const double nearest = std::min(least, before), faded = of.known() * fade(gamma, before, nearest);
            const double limit = at.task_.anew_within[b] - std::log(faded + weights(gamma, half, count, nearest, weight));
            const int64_t anew_before = anew;
            for (int n = 0; n < count; ++n) {
                stays[n] = !(gamma * (half[n] - nearest) < limit);
                if (stays[n]) continue;
                const double* exactly = at.exact_.piece(first + n, 0, at.exact_.padded(), exact_copy);
                half[n] = at.exact_.half_squared_distance(at.exact_y_ + b * at.exact_.padded(), exactly, first + n + 1);
                ++anew;
            }
            approach(of, gamma, std::min(before, *std::min_element(half, half + count)));
            if (anew != anew_before || of.nearest != nearest) weights(gamma, half, count, of.nearest, weight);

            int kept[most], many = 0;
            for (int n = 0; n < count; ++n) {
                if (!(gamma * (half[n] - of.nearest) <= skip)) continue;
                const double w = double(weight[n]);
                of.weight += w;
                if (stays[n]) of.rough += w * w;
                kept[many++] = n;
            }
            if (of.additions + many > most) settle(of);
            of.additions += many;
            for (int i = 0; i < many; i += added_at_once) add(of.now, phi, weight, kept + i, std::min(many - i, added_at_once), first + count);
        }

        static double fade(double gamma, double farther, double nearer) { return farther == nearer ? 1.0 : std::exp(gamma * (nearer - farther)); }

        // To `weight`, relative to the nearest; returns their sum.
        static double weights(double gamma, const double* half, int count, double nearest, T* weight) {
            for (int n = 0; n < most; ++n) weight[n] = n < count ? T(gamma * log2_e * (nearest - half[n])) : T(0);
            for (int n = 0; n < count; n += L) store(weight + n, exp2<T>(load(weight + n)));
            double sum = 0;
            for (int n = 0; n < count; ++n) sum += double(weight[n]);
            return sum;
        }

        void approach(Belief& of, double gamma, double nearest) const {
            if (nearest == of.nearest) return;
            settle(of);
            const double fades = fade(gamma, of.nearest, nearest);
            of.nearest = nearest;
            of.others *= fades, of.weight *= fades, of.rough *= fades * fades;
            for (int64_t i = 0; i < at.padded_; ++i) of.sums[i] *= fades;
        }

        void add(T* sums, const KEPT* const* phi, const T* weight, const int* kept, int many, int64_t next_turn) const {
            const KEPT *met[added_at_once], *next[added_at_once];
            V times[added_at_once];
            for (int i = 0; i < added_at_once; ++i) {
                const int n = kept[std::min(i, many - 1)];
                met[i] = phi[n], times[i] = splat(i < many ? weight[n] : T(0)), next[i] = at.images_.lies(next_turn + n);
            }
            constexpr int line = std::max<int>(L, 64 / sizeof(KEPT));  // of the memory
            for (int64_t from = 0; from < at.padded_; from += line) {
                for (int i = 0; i < added_at_once; ++i) Images<T, KEPT>::ask(next[i], from);
                for (int64_t k = from; k < std::min(from + line, at.padded_); k += L) {
                    V sum = load(sums + k);
                    for (int i = 0; i < added_at_once; ++i) sum += times[i] * Images<T, KEPT>::values(met[i] + k);
                    store(sums + k, sum);
                }
            }
        }

        void settle(Belief& of) const {
            for (int64_t i = 0; of.additions && i < at.padded_; i += L) {
                Images<T, KEPT>::pass_on(load(of.now + i), of.sums + i);
                store(of.now + i, V{});
            }
            of.additions = 0;
        }

        const Streams& at;
        std::vector<Belief> beliefs;
        Buffer<KEPT> copies;
        Buffer<double> exact_copy;
    };

    const StreamTask& task_;
    const Images<T, KEPT> images_;
    const Images<double, double> exact_;
    const int64_t padded_;
    const int turn_;  // images
    const Buffer<T> y_;
    const Buffer<double> exact_y_;
};

}  // namespace patchmosaic::PATCHMOSAIC_ISA
