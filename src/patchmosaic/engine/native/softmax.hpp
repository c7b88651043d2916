// What the streamed softmaxes share. Distances are counted in units of ln 2, so that a weight is 2^-distance.
#pragma once

#include <algorithm>
#include <cmath>

namespace patchmosaic::PATCHMOSAIC_ISA {

constexpr double log2_e = 1.4426950408889634;

// Two sums of one pixel, of weights relative to exp(theirs) and to exp(mine), become one: see PosteriorSum.merged.
struct Peak {
    double m, theirs_fade, mine_fade;
    Peak(double theirs, double mine) : m(std::max(theirs, mine)), theirs_fade(std::exp(theirs - m)), mine_fade(std::exp(mine - m)) {}
};

}  // namespace patchmosaic::PATCHMOSAIC_ISA
