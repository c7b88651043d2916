// Compiled once for each instruction set, with PATCHMOSAIC_ISA as its namespace.
#include "images.hpp"

#include <type_traits>

namespace patchmosaic::PATCHMOSAIC_ISA {

namespace {

template <class T, class Use>
void with_images(const ImageTask& task, Use use) {
    if constexpr (std::is_same_v<T, double>)
        use(Images<double, double>(task));
    else if (task.bytes)
        use(Images<float, uint8_t>(task));
    else
        use(Images<float, float>(task));
}

}  // namespace

template <class T>
void half_squared_distances(const ImageTask& task, const T* queries, double* half) {
    with_images<T>(task, [&](const auto& images) { images.half_squared_distances(queries, half); });
}

template <class T>
void add_weighted(const ImageTask& task, const T* weights, double* sums) {
    with_images<T>(task, [&](const auto& images) { images.add_weighted(weights, sums); });
}

template void half_squared_distances<float>(const ImageTask&, const float*, double*);
template void half_squared_distances<double>(const ImageTask&, const double*, double*);
template void add_weighted<float>(const ImageTask&, const float*, double*);
template void add_weighted<double>(const ImageTask&, const double*, double*);

}  // namespace patchmosaic::PATCHMOSAIC_ISA
