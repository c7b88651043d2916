// The images of a call are dealt out to the threads in whole groups. Each thread has a worker with sums of its own; they are merged in
// the order of the threads, so that the same call on as many threads gives the same bits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include <omp.h>

#include "simd.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

// Returns how many vectors of patches the workers weighed.
template <class Worker, class Kernel>
int64_t deal_out(const Kernel& kernel, int64_t start, int64_t stop, int64_t group, int threads) {
    const int64_t groups = (stop - start + group - 1) / group;
    std::vector<std::unique_ptr<Worker>> workers(std::max<int64_t>(1, std::min<int64_t>(threads, groups)));
#pragma omp parallel num_threads(int(workers.size()))
    {
        const DenormalsAreZero fast;
        auto& worker = workers[omp_get_thread_num()];
        worker = std::make_unique<Worker>(kernel);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < groups; ++n) worker->meet(start + n * group, std::min(stop, start + (n + 1) * group));
    }
    int64_t kept = 0;
    for (auto& worker : workers) {
        if (!worker) continue;
        worker->merge();
        kept += worker->kept;
    }
    return kept;
}

}  // namespace patchmosaic::PATCHMOSAIC_ISA
