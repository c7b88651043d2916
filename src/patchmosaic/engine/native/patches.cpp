// Compiled once for each instruction set, with PATCHMOSAIC_ISA as its namespace.
#include "patches.hpp"
#include "places.hpp"

namespace patchmosaic::PATCHMOSAIC_ISA {

template <class T>
int64_t add(const Task<T>& task) {
    if (task.trace.keep) return Patches<T, 0, true>(task).add();
    if (task.rule == Rule::same_position) return add_places(task);
    switch (task.channels) {
        case 1: return Patches<T, 1, false>(task).add();
        case 3: return Patches<T, 3, false>(task).add();
        default: return Patches<T, 0, false>(task).add();
    }
}

template int64_t add<float>(const Task<float>&);
template int64_t add<double>(const Task<double>&);

}  // namespace patchmosaic::PATCHMOSAIC_ISA
