// Compiled once for each instruction set, with PATCHMOSAIC_ISA as its namespace.
#include "images.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

template <class T>
void half_squared_distances(const ImageTask& task, const T* queries, double* half) {
    Images<T>(task).half_squared_distances(queries, half);
}

template <class T>
void add_weighted(const ImageTask& task, const T* weights, double* sums) {
    Images<T>(task).add_weighted(weights, sums);
}

template void half_squared_distances<float>(const ImageTask&, const float*, double*);
template void half_squared_distances<double>(const ImageTask&, const double*, double*);
template void add_weighted<float>(const ImageTask&, const float*, double*);
template void add_weighted<double>(const ImageTask&, const double*, double*);

}  // namespace patchmosaic::PATCHMOSAIC_ISA
