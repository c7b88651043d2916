// The roof of benchmarks: how many multiply-adds a processor issues where nothing else is to be done. Compiled once for each
// instruction set, with PATCHMOSAIC_ISA as its namespace.
#include <cstdint>

#include <omp.h>

#include "simd.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

// On each thread `rounds` times twelve multiply-adds in float32 that do not wait for each other. Returns how many numbers that were.
double multiply_adds(int64_t rounds, int threads) {
    constexpr int independent = 12;
    double numbers = 0;
#pragma omp parallel num_threads(threads) reduction(+ : numbers)
    {
        vec<float> sum[independent];
        for (int i = 0; i < independent; ++i) sum[i] = splat(float(i));
        for (int64_t round = 0; round < rounds; ++round)
            for (int i = 0; i < independent; ++i) sum[i] = held_in_register(sum[i] * 0.999f + 0.001f);
        for (int i = 1; i < independent; ++i) sum[0] += sum[i];
        numbers += double(rounds) * independent * Lanes<float>::count + 0.0 * double(sum[0][0]);
    }
    return numbers;
}

}  // namespace patchmosaic::PATCHMOSAIC_ISA
