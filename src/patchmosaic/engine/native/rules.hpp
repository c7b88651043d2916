// What the machines differ in: which rows may meet which, and what lies beyond the border. The same rules as in matching.py.
#pragma once

#include <algorithm>
#include <vector>

#include "task.hpp"

// In the namespace of the instruction set it is compiled for: else a linker may keep one copy, for a newer processor than this.
namespace patchmosaic::PATCHMOSAIC_ISA {

inline int modulo(int a, int n) { return ((a % n) + n) % n; }

// Along one axis: the window of row r sees `window` successive rows from r - before on.
struct Axis {
    int side, window, before;
    bool torus;      // rows wrap round; elsewhere what lies beyond the image is zero
    int low, high;   // low <= q < high: the training rows that may be matched from afar

    Axis(Rule rule, int side, int patch_size) : side(side), torus(rule == Rule::anywhere || rule == Rule::anywhere_inside) {
        const int radius = patch_size / 2;
        // On a torus a row is seen once, however large the window.
        window = torus ? std::min(patch_size, side) : 2 * std::min(radius, side - 1) + 1;
        before = window / 2;
        low = rule == Rule::anywhere ? 0 : std::min(radius, side);
        high = rule == Rule::anywhere ? side : std::max(side - radius, low);
        if (rule == Rule::same_position) low = high = 0;
    }
    // The row that r stands for; -1 beyond the border.
    int row(int r) const { return torus ? modulo(r, side) : (r < 0 || r >= side ? -1 : r); }
    int inner() const { return high - low; }
    int after() const { return window - 1 - before; }
};

// Rows that meet: (p, q), (p + 1, q + 1) ... count of them.
struct Run {
    int p, q, count;
};

inline std::vector<Run> runs(Rule rule, const Axis& rows) {
    std::vector<Run> found;
    if (rule == Rule::same_position || rule == Rule::same_border) found.push_back({0, 0, rows.side});
    if (rule == Rule::same_border) {
        for (int d = 1; d < rows.inner(); ++d) {
            found.push_back({rows.low, rows.low + d, rows.inner() - d});
            found.push_back({rows.low + d, rows.low, rows.inner() - d});
        }
    }
    if (rows.torus && rows.inner() > 0) {
        for (int d = 0; d < rows.side; ++d) found.push_back({modulo(rows.low - d, rows.side), rows.low, rows.inner()});
    }
    return found;
}

}  // namespace patchmosaic::PATCHMOSAIC_ISA
