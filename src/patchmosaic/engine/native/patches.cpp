// Compiled once for each instruction set, with PATCHMOSAIC_ISA as its namespace.
#include "patches.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

template <class T>
int64_t add(const Task<T>& task) {
    switch (task.channels) {
        case 1: return Patches<T, 1>(task).add();
        case 3: return Patches<T, 3>(task).add();
        default: return Patches<T, 0>(task).add();
    }
}

template int64_t add<float>(const Task<float>&);
template int64_t add<double>(const Task<double>&);

}  // namespace patchmosaic::PATCHMOSAIC_ISA
