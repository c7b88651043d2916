// What the kernel is asked: plain pointers and numbers, the same for every instruction set.
#pragma once

#include <cstdint>

namespace patchmosaic {

enum class Rule { same_position, same_border, anywhere, anywhere_inside };

// How the weights of every pixel are spread, added to: see belief.py.
struct Trace {
    int keep;               // 0: nothing is traced
    double* surprise;       // (B, H, W)
    double* squares;        // (B, H, W)
    double* image_squares;  // (B, H, W)
    double* top;            // (B, H, W, keep), log-weights
    int64_t* source;        // (B, H, W, keep), (image H + row) W + column
};

template <class T>
struct Task {
    // B queries y = x_t / alpha_t, and the precision gamma of each: the log-weight of a patch is -gamma/2 times its squared distance.
    const T* queries;  // (B, C, H, W)
    const double* precision;
    // For each query: distances of patches with a share above exp(-anew_within) of all the weight are computed anew, without
    // cancellation; -inf: none.
    const double* anew_within;
    const T* centre;  // (C,), subtracted from queries and images alike: the nearer to their mean, the less is rounded
    int64_t batch;
    int channels, height, width;

    // The images start ... stop of the pool, or of those at `index`: 8-bit, meaning u / 127.5 - 1, or float32.
    const uint8_t* bytes;  // (N, C, H, W), or null
    const float* floats;   // (N, C, H, W), or null
    const int64_t* index;  // or null
    int64_t start, stop;

    Rule rule;
    int patch_size;
    double skip;  // a patch less than exp(-skip) times as likely as the likeliest so far is left out
    int threads;

    // The posterior of every pixel, added to: see posterior.py.
    double* m;  // (B, H, W)
    double* s;  // (B, H, W)
    double* v;  // (B, C + 1, H, W): the channels' values, and the sum of their squares
    Trace trace;
};

// Whole images start ... stop of the pool, or of those at `index`, against B queries, all of `size` numbers; kept as for Task.
struct ImageTask {
    int64_t batch, size;
    const uint8_t* bytes;  // (N, size), or null
    const float* floats;   // (N, size), or null
    const int64_t* index;  // or null
    int64_t start, stop;
    const bool* where;  // (B, stop - start), the pairs whose distances are asked for; null: all
    int threads;
};

// The posterior of few queries over whole images, and what is known before: half the squared distance of the nearest image, and some
// of the weight, relative to it.
struct StreamTask {
    ImageTask images;
    const double* precision;    // (B,)
    const double* nearest;      // (B,)
    const double* weight;       // (B,)
    const double* anew_within;  // (B,), distances of images with a share above exp(-anew_within) of all the weight are computed anew
    double skip;                // an image less than exp(-skip) times as likely as the likeliest so far is left out

    // What each thread found in its images; weights are relative to its nearest.
    double* found_nearest;  // (threads, B)
    double* found_weight;   // (threads, B)
    double* found_rough;    // (threads, B), the squares of weights whose distances are not exact
    double* found_sums;     // (threads, B, size), images times their weights
};

}  // namespace patchmosaic
