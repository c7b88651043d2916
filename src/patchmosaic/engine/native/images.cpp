// Compiled once for each instruction set, with PATCHMOSAIC_ISA as its namespace.
#include "images.hpp"
#include "streams.hpp"

#include <type_traits>

namespace patchmosaic::PATCHMOSAIC_ISA {

namespace {

// As what the images are met.
template <class T, class Use>
auto with_kept(const ImageTask& task, Use use) {
    if constexpr (std::is_same_v<T, double>)
        return use(double());
    else
        return task.bytes ? use(uint8_t()) : use(float());
}

}  // namespace

template <class T>
void half_squared_distances(const ImageTask& task, const T* queries, double* half) {
    with_kept<T>(task, [&](auto kept) { Images<T, decltype(kept)>(task).half_squared_distances(queries, half); });
}

template <class T>
void add_weighted(const ImageTask& task, const T* weights, double* sums) {
    with_kept<T>(task, [&](auto kept) { Images<T, decltype(kept)>(task).add_weighted(weights, sums); });
}

template <class T>
int64_t stream(const StreamTask& task, const T* queries, const double* exact_queries) {
    return with_kept<T>(task.images, [&](auto kept) { return Streams<T, decltype(kept)>(task, queries, exact_queries).add(); });
}

template void half_squared_distances<float>(const ImageTask&, const float*, double*);
template void half_squared_distances<double>(const ImageTask&, const double*, double*);
template void add_weighted<float>(const ImageTask&, const float*, double*);
template void add_weighted<double>(const ImageTask&, const double*, double*);
template int64_t stream<float>(const StreamTask&, const float*, const double*);
template int64_t stream<double>(const StreamTask&, const double*, const double*);

}  // namespace patchmosaic::PATCHMOSAIC_ISA
