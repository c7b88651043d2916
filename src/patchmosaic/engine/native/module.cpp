// The Python module: checks shapes, chooses the instruction set, and releases the interpreter while it works.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "task.hpp"

namespace patchmosaic {

#define PATCHMOSAIC_DECLARE(ISA) \
    namespace ISA { \
    template <class T> \
    int64_t add(const Task<T>& task); \
    extern template int64_t add<float>(const Task<float>&); \
    extern template int64_t add<double>(const Task<double>&); \
    template <class T> \
    void half_squared_distances(const ImageTask& task, const T* queries, double* half); \
    extern template void half_squared_distances<float>(const ImageTask&, const float*, double*); \
    extern template void half_squared_distances<double>(const ImageTask&, const double*, double*); \
    template <class T> \
    void add_weighted(const ImageTask& task, const T* weights, double* sums); \
    extern template void add_weighted<float>(const ImageTask&, const float*, double*); \
    extern template void add_weighted<double>(const ImageTask&, const double*, double*); \
    template <class T> \
    int64_t stream(const StreamTask& task, const T* queries, const double* exact_queries); \
    extern template int64_t stream<float>(const StreamTask&, const float*, const double*); \
    extern template int64_t stream<double>(const StreamTask&, const double*, const double*); \
    double multiply_adds(int64_t rounds, int threads); \
    }
PATCHMOSAIC_DECLARE(baseline)
#ifdef PATCHMOSAIC_X86
PATCHMOSAIC_DECLARE(avx2)
PATCHMOSAIC_DECLARE(avx512)
#endif

namespace {

namespace nb = nanobind;

template <class T, int DIMENSIONS>
using Array = nb::ndarray<T, nb::ndim<DIMENSIONS>, nb::c_contig, nb::device::cpu>;

// Best first.
std::vector<std::string> instruction_sets() {
    std::vector<std::string> found;
#ifdef PATCHMOSAIC_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        found.push_back("avx512");
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back("avx2");
#endif
    found.push_back("baseline");
    return found;
}

#ifdef PATCHMOSAIC_X86
#define PATCHMOSAIC_DISPATCH(instructions, call) \
    ((instructions) == "avx512" ? avx512::call : (instructions) == "avx2" ? avx2::call : baseline::call)
#else
#define PATCHMOSAIC_DISPATCH(instructions, call) baseline::call
#endif

void require(bool condition, const char* what) {
    if (!condition) throw std::invalid_argument(what);
}

Rule rule_named(const std::string& name) {
    if (name == "same position") return Rule::same_position;
    if (name == "same border") return Rule::same_border;
    if (name == "anywhere") return Rule::anywhere;
    if (name == "anywhere inside") return Rule::anywhere_inside;
    throw std::invalid_argument("no such rule: " + name);
}

using Images = nb::ndarray<nb::ro, nb::ndim<4>, nb::c_contig, nb::device::cpu>;

// What both kinds of task say of the images; `chosen` keeps the index alive.
template <class Task>
void give_images(Task& task, const Images& images, const nb::object& index, int64_t start, int64_t stop, Array<const int64_t, 1>& chosen) {
    task.bytes = images.dtype() == nb::dtype<uint8_t>() ? static_cast<const uint8_t*>(images.data()) : nullptr;
    task.floats = images.dtype() == nb::dtype<float>() ? static_cast<const float*>(images.data()) : nullptr;
    require(task.bytes || task.floats, "images must be uint8 or float32");
    const int64_t stored = int64_t(images.shape(0));
    int64_t count = stored;
    if (!index.is_none()) {
        chosen = nb::cast<Array<const int64_t, 1>>(index);
        task.index = chosen.data();
        count = int64_t(chosen.shape(0));
    }
    require(0 <= start && start <= stop && stop <= count, "start and stop must lie within the images");
    for (int64_t i = start; task.index && i < stop; ++i) require(task.index[i] >= 0 && task.index[i] < stored, "index out of range");
    task.start = start, task.stop = stop;
}

template <class T>
int64_t add_patches(
    Array<const T, 4> queries,
    Array<const double, 1> precision,
    Array<const double, 1> anew_within,
    Array<const T, 1> centre,
    Images images,
    nb::object index,
    int64_t start,
    int64_t stop,
    const std::string& rule,
    int patch_size,
    double skip,
    int threads,
    const std::string& instructions,
    Array<double, 3> m,
    Array<double, 3> s,
    Array<double, 4> v,
    nb::object surprise,
    nb::object squares,
    nb::object image_squares,
    nb::object top,
    nb::object source) {
    const int64_t B = queries.shape(0), C = queries.shape(1), H = queries.shape(2), W = queries.shape(3);
    Task<T> task{};
    task.queries = queries.data();
    task.precision = precision.data();
    task.anew_within = anew_within.data();
    task.centre = centre.data();
    task.batch = B, task.channels = int(C), task.height = int(H), task.width = int(W);

    const bool same = int64_t(images.shape(1)) == C && int64_t(images.shape(2)) == H && int64_t(images.shape(3)) == W;
    require(same, "queries and images must have the same shape");
    Array<const int64_t, 1> chosen;
    give_images(task, images, index, start, stop, chosen);
    require(patch_size > 0 && patch_size % 2 == 1, "patch_size must be odd");
    require(int64_t(precision.shape(0)) == B, "precision must be one a query");
    require(int64_t(anew_within.shape(0)) == B, "anew_within must be one a query");
    require(int64_t(centre.shape(0)) == C, "centre must be one a channel");
    require(int64_t(m.shape(0)) == B && int64_t(m.shape(1)) == H && int64_t(m.shape(2)) == W, "m must be (B, H, W)");
    require(int64_t(s.shape(0)) == B && int64_t(s.shape(1)) == H && int64_t(s.shape(2)) == W, "s must be (B, H, W)");
    require(
        int64_t(v.shape(0)) == B && int64_t(v.shape(1)) == C + 1 && int64_t(v.shape(2)) == H && int64_t(v.shape(3)) == W,
        "v must be (B, C + 1, H, W)");
    require(skip > 0 && threads > 0, "skip and threads must be positive");
    task.rule = rule_named(rule);
    task.patch_size = patch_size, task.skip = skip, task.threads = threads;
    task.m = m.data(), task.s = s.data(), task.v = v.data();
    Array<double, 3> spread[3];
    Array<double, 4> top_of_each;
    Array<int64_t, 4> source_of_each;
    if (!top.is_none()) {
        const nb::object given[3] = {surprise, squares, image_squares};
        for (int i = 0; i < 3; ++i) {
            spread[i] = nb::cast<Array<double, 3>>(given[i]);
            const bool fits = int64_t(spread[i].shape(0)) == B && int64_t(spread[i].shape(1)) == H && int64_t(spread[i].shape(2)) == W;
            require(fits, "surprise, squares and image_squares must be (B, H, W)");
        }
        top_of_each = nb::cast<Array<double, 4>>(top), source_of_each = nb::cast<Array<int64_t, 4>>(source);
        const int64_t keep = int64_t(top_of_each.shape(3));
        require(keep > 0, "at least one patch must be kept");
        const int64_t expected[4] = {B, H, W, keep};
        for (int i = 0; i < 4; ++i)
            require(int64_t(top_of_each.shape(i)) == expected[i] && int64_t(source_of_each.shape(i)) == expected[i], "top and source must be (B, H, W, keep)");
        task.trace = {int(keep), spread[0].data(), spread[1].data(), spread[2].data(), top_of_each.data(), source_of_each.data()};
    }
    nb::gil_scoped_release release;
    return PATCHMOSAIC_DISPATCH(instructions, add(task));
}

// Queries (B, D) and images of D numbers each.
ImageTask image_task(int64_t batch, int64_t size, const Images& images, const nb::object& index, int64_t start, int64_t stop, int threads, Array<const int64_t, 1>& chosen) {
    require(int64_t(images.shape(1)) * int64_t(images.shape(2)) * int64_t(images.shape(3)) == size, "queries and images must have the same size");
    require(threads > 0, "threads must be positive");
    ImageTask task{};
    task.batch = batch, task.size = size, task.threads = threads;
    give_images(task, images, index, start, stop, chosen);
    return task;
}

template <class T>
void half_squared_distances(Array<const T, 2> queries, Images images, nb::object index, int64_t start, int64_t stop, int threads, const std::string& instructions, Array<double, 2> half, nb::object where) {
    Array<const int64_t, 1> chosen;
    ImageTask task = image_task(int64_t(queries.shape(0)), int64_t(queries.shape(1)), images, index, start, stop, threads, chosen);
    require(int64_t(half.shape(0)) == task.batch && int64_t(half.shape(1)) == stop - start, "half must be (B, stop - start)");
    Array<const bool, 2> asked;
    if (!where.is_none()) {
        asked = nb::cast<Array<const bool, 2>>(where);
        require(int64_t(asked.shape(0)) == task.batch && int64_t(asked.shape(1)) == stop - start, "where must be (B, stop - start)");
        task.where = asked.data();
    }
    nb::gil_scoped_release release;
    PATCHMOSAIC_DISPATCH(instructions, half_squared_distances(task, queries.data(), half.data()));
}

template <class T>
void add_weighted(Array<const T, 2> weights, Images images, nb::object index, int64_t start, int64_t stop, int threads, const std::string& instructions, Array<double, 2> sums) {
    Array<const int64_t, 1> chosen;
    const ImageTask task = image_task(int64_t(sums.shape(0)), int64_t(sums.shape(1)), images, index, start, stop, threads, chosen);
    require(int64_t(weights.shape(0)) == task.batch && int64_t(weights.shape(1)) == stop - start, "weights must be (B, stop - start)");
    nb::gil_scoped_release release;
    PATCHMOSAIC_DISPATCH(instructions, add_weighted(task, weights.data(), sums.data()));
}

template <class T>
int64_t stream(
    Array<const T, 2> queries,
    Array<const double, 2> exact_queries,
    Array<const double, 1> precision,
    Images images,
    nb::object index,
    int64_t start,
    int64_t stop,
    int threads,
    const std::string& instructions,
    Array<const double, 1> nearest,
    Array<const double, 1> weight,
    Array<const double, 1> anew_within,
    double skip,
    Array<double, 2> found_nearest,
    Array<double, 2> found_weight,
    Array<double, 2> found_rough,
    Array<double, 3> found_sums) {
    Array<const int64_t, 1> chosen;
    const int64_t B = queries.shape(0), size = queries.shape(1);
    StreamTask task{};
    task.images = image_task(B, size, images, index, start, stop, threads, chosen);
    require(int64_t(exact_queries.shape(0)) == B && int64_t(exact_queries.shape(1)) == size, "queries and exact_queries must have the same shape");
    for (const auto& one : {precision, nearest, weight, anew_within}) require(int64_t(one.shape(0)) == B, "precision, nearest, weight and anew_within must be one a query");
    for (const auto& one : {found_nearest, found_weight, found_rough})
        require(int64_t(one.shape(0)) == threads && int64_t(one.shape(1)) == B, "what is found must be one a thread and query");
    require(int64_t(found_sums.shape(0)) == threads && int64_t(found_sums.shape(1)) == B && int64_t(found_sums.shape(2)) == size, "found_sums must be (threads, B, D)");
    require(skip > 0, "skip must be positive");
    task.precision = precision.data(), task.nearest = nearest.data(), task.weight = weight.data(), task.anew_within = anew_within.data(), task.skip = skip;
    task.found_nearest = found_nearest.data(), task.found_weight = found_weight.data(), task.found_rough = found_rough.data(), task.found_sums = found_sums.data();
    nb::gil_scoped_release release;
    return PATCHMOSAIC_DISPATCH(instructions, stream(task, queries.data(), exact_queries.data()));
}

double multiply_adds(int64_t rounds, int threads, const std::string& instructions) {
    require(rounds > 0 && threads > 0, "rounds and threads must be positive");
    nb::gil_scoped_release release;
    return PATCHMOSAIC_DISPATCH(instructions, multiply_adds(rounds, threads));
}

}  // namespace

template <class T>
void define_image_sums(nb::module_& module) {
    module.def("half_squared_distances", &half_squared_distances<T>, "Half the squared distances of queries and images, written to `half`.",
        nb::arg("queries").noconvert(), nb::arg("images").noconvert(), nb::arg("index").none(), nb::arg("start"), nb::arg("stop"), nb::arg("threads"),
        nb::arg("instructions"), nb::arg("half").noconvert(), nb::arg("where") = nb::none());
    module.def("add_weighted", &add_weighted<T>, "Images times their weights, added to `sums`.",
        nb::arg("weights").noconvert(), nb::arg("images").noconvert(), nb::arg("index").none(), nb::arg("start"), nb::arg("stop"), nb::arg("threads"),
        nb::arg("instructions"), nb::arg("sums").noconvert());
}

template <class T>
void define_stream(nb::module_& module) {
    module.def("stream", &stream<T>, "The posterior of few queries over some images, as each thread finds it.",
        nb::arg("queries").noconvert(), nb::arg("exact_queries").noconvert(), nb::arg("precision").noconvert(), nb::arg("images").noconvert(),
        nb::arg("index").none(), nb::arg("start"), nb::arg("stop"), nb::arg("threads"), nb::arg("instructions"), nb::arg("nearest").noconvert(),
        nb::arg("weight").noconvert(), nb::arg("anew_within").noconvert(), nb::arg("skip"), nb::arg("found_nearest").noconvert(),
        nb::arg("found_weight").noconvert(), nb::arg("found_rough").noconvert(), nb::arg("found_sums").noconvert());
}

template <class T>
void define_add_patches(nb::module_& module) {
    module.def("add_patches", &add_patches<T>, "Add the patches of some images to the sums (m, s, v), in place; see engine/native/__init__.py.",
        nb::arg("queries").noconvert(), nb::arg("precision").noconvert(), nb::arg("anew_within").noconvert(), nb::arg("centre").noconvert(),
        nb::arg("images").noconvert(), nb::arg("index").none(), nb::arg("start"), nb::arg("stop"), nb::arg("rule"), nb::arg("patch_size"),
        nb::arg("skip"), nb::arg("threads"), nb::arg("instructions"), nb::arg("m").noconvert(), nb::arg("s").noconvert(),
        nb::arg("v").noconvert(), nb::arg("surprise") = nb::none(), nb::arg("squares") = nb::none(), nb::arg("image_squares") = nb::none(),
        nb::arg("top") = nb::none(), nb::arg("source") = nb::none());
}

NB_MODULE(_patches, module) {
    module.def("instruction_sets", &instruction_sets, "What this processor can run, best first.");
    module.def("multiply_adds", &multiply_adds, "Work to measure a processor by; returns of how many numbers.", nb::arg("rounds"), nb::arg("threads"), nb::arg("instructions"));
    define_add_patches<float>(module);
    define_add_patches<double>(module);
    define_image_sums<float>(module);
    define_image_sums<double>(module);
    define_stream<float>(module);
    define_stream<double>(module);
}

}  // namespace patchmosaic
