// Numbers side by side, as many as a register holds, in the compiler's own vector types: the same source serves AVX-512, AVX2, SSE2 and
// NEON. Wider vectors would live in memory. What compilers do badly is written for each.
#pragma once

#include <cstdint>
#include <cstring>
#include <iterator>
#include <type_traits>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

namespace patchmosaic::PATCHMOSAIC_ISA {

#if defined(__AVX512F__)
constexpr int register_bytes = 64;
#elif defined(__AVX2__)
constexpr int register_bytes = 32;
#else
constexpr int register_bytes = 16;
#endif

template <class T>
struct Lanes;

template <>
struct Lanes<float> {
    typedef float type __attribute__((vector_size(register_bytes)));
    typedef int32_t bits __attribute__((vector_size(register_bytes)));
    static constexpr int count = register_bytes / 4, mantissa = 23;
    static constexpr float round = 12582912.0f;  // adding 1.5 2^23 leaves the nearest integer in the low bits
    static constexpr float floor = -126.0f;      // 2^floor is the smallest normal number
    // 2^f on |f| <= 1/2, to 7.5e-8 of the value (Lawson's weighted least squares).
    static constexpr float exp2_coefficients[] = {
        1.0000000716546558f, 0.69314696706386192f, 0.24022119723934376f,
        0.055507132749625154f, 0.0096755413306598842f, 0.0013276471518925033f,
    };
};

template <>
struct Lanes<double> {
    typedef double type __attribute__((vector_size(register_bytes)));
    typedef int64_t bits __attribute__((vector_size(register_bytes)));
    static constexpr int count = register_bytes / 8, mantissa = 52;
    static constexpr double round = 6755399441055744.0;
    static constexpr double floor = -1022.0;
    // ln(2)^k / k!, to 2e-16 of the value.
    static constexpr double exp2_coefficients[] = {
        1.0,                    0.69314718055994530942,  0.24022650695910071233,  0.05550410866482157995, 0.00961812910762847716,
        0.00133335581464284434, 0.00015403530393381610,  0.00001525273380405984,  0.00000132154867901443, 0.00000010178086009240,
        0.00000000705491162080, 0.00000000044455382719,  0.00000000002567843599,
    };
};

template <class T>
using vec = typename Lanes<T>::type;

template <class T>
inline vec<T> load(const T* from) {
    vec<T> value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class T>
inline void store(T* to, vec<T> value) {
    std::memcpy(to, &value, sizeof value);
}

template <class T>
inline vec<T> splat(T value) {
    return value - vec<T>{};
}

template <class T>
inline vec<T> smaller(vec<T> a, vec<T> b) {
    return a < b ? a : b;
}

// What is used more than once is worth loading once; compilers prefer to load it for each use.
template <class V>
INLINE V held_in_register(V value) {
#if defined(__AVX512F__)
    asm("" : "+v"(value));
#endif
    return value;
}

// 2^x for x <= 0. Below Lanes::floor it stays at the smallest normal number, where arithmetic is still fast.
template <class T>
inline vec<T> exp2(vec<T> x) {
    using L = Lanes<T>;
    constexpr int degree = std::size(L::exp2_coefficients) - 1;
    x = x > L::floor ? x : splat<T>(L::floor);
    const vec<T> shifted = x + L::round, f = x - (shifted - L::round);
    vec<T> p = splat<T>(L::exp2_coefficients[degree]);
    for (int k = degree - 1; k >= 0; --k) p = p * f + L::exp2_coefficients[k];
    typename L::bits n, value;
    std::memcpy(&n, &shifted, sizeof n);
    std::memcpy(&value, &p, sizeof value);
    value += n << L::mantissa;
    std::memcpy(&p, &value, sizeof p);
    return p;
}

#if defined(__AVX512F__)
// The same in fewer instructions: 2^x = 2^floor(x) 2^(i / 32) 2^r, where 2^(i / 32) is one of 32 numbers in two registers, and r < 1/32
// needs but two terms (Lawson's weighted least squares, 6.6e-8). Below 2^-126 it is zero while DenormalsAreZero lives.
template <>
inline vec<float> exp2<float>(vec<float> x) {
    alignas(64) static constexpr float steps[32] = {
        1.0f, 1.02189715f, 1.04427378f, 1.0671404f, 1.09050773f, 1.11438674f, 1.13878863f, 1.16372486f,
        1.18920712f, 1.21524736f, 1.24185781f, 1.26905096f, 1.29683955f, 1.32523664f, 1.35425555f, 1.38390988f,
        1.41421356f, 1.44518081f, 1.47682615f, 1.50916443f, 1.54221083f, 1.57598085f, 1.61049033f, 1.64575548f,
        1.68179283f, 1.7186193f, 1.75625216f, 1.79470908f, 1.83400809f, 1.87416763f, 1.91520656f, 1.95714412f
    };
    const __m512 exponent = reinterpret_cast<__m512>(x);
    // In the sum the low bits count 32nds.
    const __m512 shifted = _mm512_add_round_ps(exponent, _mm512_set1_ps(1.5f * (1 << 18)), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    const __m512 step = _mm512_permutex2var_ps(_mm512_load_ps(steps), _mm512_castps_si512(shifted), _mm512_load_ps(steps + 16));
    const vec<float> r = reinterpret_cast<vec<float>>(_mm512_reduce_ps(exponent, 5 << 4 | _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
    const vec<float> power = reinterpret_cast<vec<float>>(step) * ((r * 0.24265270f + 0.69312376f) * r + 1.0f);
    return reinterpret_cast<vec<float>>(_mm512_scalef_ps(reinterpret_cast<__m512>(power), exponent));
}
#endif

// Denormal numbers are zero while it lives: they weigh nothing, and some processors are slow with them.
class DenormalsAreZero {
  public:
#if defined(__SSE2__)
    DenormalsAreZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON); }
    ~DenormalsAreZero() { _mm_setcsr(before_); }

  private:
    const unsigned before_;
#else
    DenormalsAreZero() {}
    ~DenormalsAreZero() {}
#endif
};

// A bit for each lane in which a <= b.
#if defined(__AVX512F__)
INLINE unsigned at_most(vec<float> a, vec<float> b) { return _mm512_cmp_ps_mask(__m512(a), __m512(b), _CMP_LE_OQ); }
INLINE unsigned at_most(vec<double> a, vec<double> b) { return _mm512_cmp_pd_mask(__m512d(a), __m512d(b), _CMP_LE_OQ); }
#elif defined(__AVX2__)
INLINE unsigned at_most(vec<float> a, vec<float> b) { return unsigned(_mm256_movemask_ps(_mm256_cmp_ps(__m256(a), __m256(b), _CMP_LE_OQ))); }
INLINE unsigned at_most(vec<double> a, vec<double> b) { return unsigned(_mm256_movemask_pd(_mm256_cmp_pd(__m256d(a), __m256d(b), _CMP_LE_OQ))); }
#elif defined(__SSE2__)
INLINE unsigned at_most(vec<float> a, vec<float> b) { return unsigned(_mm_movemask_ps(_mm_cmple_ps(__m128(a), __m128(b)))); }
INLINE unsigned at_most(vec<double> a, vec<double> b) { return unsigned(_mm_movemask_pd(_mm_cmple_pd(__m128d(a), __m128d(b)))); }
#else
template <class V>
INLINE unsigned at_most(V a, V b) {
    const auto less = a <= b;  // -1 where it holds
    unsigned bits = 0;
    for (unsigned lane = 0; lane < sizeof a / sizeof a[0]; ++lane) bits |= unsigned(less[lane] & 1) << lane;
    return bits;
}
#endif

template <class V>
INLINE bool any_at_most(V a, V b) {
    return at_most(a, b) != 0;
}

// In how many lanes.
template <class T>
INLINE int count_at_most(vec<T> a, vec<T> b) {
    return __builtin_popcount(at_most(a, b));
}

// Bytes u mean u / 127.5 - 1. The quotient is that of a division, rounded once, but three times as fast.
INLINE vec<float> numbers(vec<float> u) {
    constexpr float inverse = 1.0f / 127.5f;
    const vec<float> quotient = u * inverse;
    return quotient + (u - quotient * 127.5f) * inverse - 1.0f;
}

template <class T, class Stored>
INLINE T number(Stored stored) {
    if constexpr (sizeof(Stored) == 1)
        return T(float(stored) / 127.5f - 1.0f);
    else
        return T(stored);
}

INLINE vec<float> widened(const uint8_t* bytes) {
    constexpr int count = Lanes<float>::count;
    Lanes<float>::bits numbers;
#if defined(__AVX512F__)
    reinterpret_cast<__m512i&>(numbers) = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
#elif defined(__AVX2__)
    reinterpret_cast<__m256i&>(numbers) = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
#else
    for (int i = 0; i < count; ++i) numbers[i] = bytes[i];
#endif
    return __builtin_convertvector(numbers, vec<float>);
}

typedef uint8_t bytes16 __attribute__((vector_size(16)));

// 16 x 16 bytes: row i becomes column i.
INLINE void transpose(bytes16 (&rows)[16]) {
    constexpr bytes16 low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
    constexpr bytes16 high = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    for (int round = 0; round < 4; ++round) {
        bytes16 next[16];
        for (int i = 0; i < 8; ++i) {
            next[2 * i] = __builtin_shuffle(rows[i], rows[i + 8], low);
            next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + 8], high);
        }
        std::memcpy(rows, next, sizeof next);
    }
}

// Stored numbers one after another.
template <class T, class Stored>
INLINE void in_order(const Stored* from, int count, T* to) {
    int i = 0;
    if constexpr (sizeof(Stored) == 1) {
        constexpr int several = Lanes<float>::count;
        for (; i + several <= count; i += several) {
            const vec<float> found = numbers(widened(from + i));
            typedef T wanted __attribute__((vector_size(several * sizeof(T))));
            const wanted converted = __builtin_convertvector(found, wanted);
            std::memcpy(to + i, &converted, sizeof converted);
        }
    }
    for (; i < count; ++i) to[i] = number<T>(from[i]);
}

// The pixels `begin` ... `begin + count` of several images side by side, as numbers less `centre`.
template <class T, class Stored>
inline void side_by_side(const Stored* const* images, int64_t begin, int64_t count, T centre, T* to) {
    constexpr int L = Lanes<T>::count;
    int64_t done = 0;
    if constexpr (sizeof(Stored) == 1 && std::is_same_v<T, float>) {
        for (; done + 16 <= count; done += 16) {
            bytes16 block[16] = {};
            for (int lane = 0; lane < L; ++lane) std::memcpy(&block[lane], images[lane] + begin + done, 16);
            transpose(block);
            for (int i = 0; i < 16; ++i) store(to + (done + i) * L, numbers(widened(reinterpret_cast<const uint8_t*>(&block[i]))) - centre);
        }
    }
    for (int lane = 0; lane < L; ++lane) {
        const Stored* from = images[lane] + begin;
        for (int64_t i = done; i < count; ++i) to[i * L + lane] = number<T>(from[i]) - centre;
    }
}

}  // namespace patchmosaic::PATCHMOSAIC_ISA
