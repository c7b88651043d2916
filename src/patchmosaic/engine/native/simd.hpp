// 64 bytes of numbers, in the compiler's own vector types: the same source serves AVX-512 (one register), AVX2 (two), SSE2 and
// NEON (four). Only the test "is any lane at most as large?" is written for each.
#pragma once

#include <cstdint>
#include <cstring>
#include <iterator>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

namespace patchmosaic::PATCHMOSAIC_ISA {

template <class T>
struct Lanes;

template <>
struct Lanes<float> {
    typedef float type __attribute__((vector_size(64)));
    typedef int32_t bits __attribute__((vector_size(64)));
    static constexpr int count = 16, mantissa = 23;
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
    typedef double type __attribute__((vector_size(64)));
    typedef int64_t bits __attribute__((vector_size(64)));
    static constexpr int count = 8, mantissa = 52;
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

template <class T>
inline vec<T> larger(vec<T> a, vec<T> b) {
    return a > b ? a : b;
}

// What is used more than once is worth loading once; compilers prefer to load it for each use.
template <class V>
INLINE V held_in_register(V value) {
#if defined(__AVX512F__)
    asm("" : "+v"(value));
#endif
    return value;
}

#if defined(__AVX512F__)
// x less the nearest whole number, and p 2^n, in one instruction each.
INLINE vec<float> beyond_whole(vec<float> x) {
    return reinterpret_cast<vec<float>>(_mm512_reduce_ps(reinterpret_cast<__m512>(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE vec<double> beyond_whole(vec<double> x) {
    return reinterpret_cast<vec<double>>(_mm512_reduce_pd(reinterpret_cast<__m512d>(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE vec<float> scaled(vec<float> p, vec<float> n) {
    return reinterpret_cast<vec<float>>(_mm512_scalef_ps(reinterpret_cast<__m512>(p), reinterpret_cast<__m512>(n)));
}
INLINE vec<double> scaled(vec<double> p, vec<double> n) {
    return reinterpret_cast<vec<double>>(_mm512_scalef_pd(reinterpret_cast<__m512d>(p), reinterpret_cast<__m512d>(n)));
}
#endif

// 2^x for x <= 0; below Lanes::floor it stays at the smallest normal number, where arithmetic is still fast.
template <class T>
inline vec<T> exp2(vec<T> x) {
    using L = Lanes<T>;
    constexpr int degree = std::size(L::exp2_coefficients) - 1;
    x = x > L::floor ? x : splat<T>(L::floor);
    const auto power = [](vec<T> f) {
        vec<T> p = splat<T>(L::exp2_coefficients[degree]);
        for (int k = degree - 1; k >= 0; --k) p = p * f + L::exp2_coefficients[k];
        return p;
    };
#if defined(__AVX512F__)
    const vec<T> f = beyond_whole(x);
    return scaled(power(f), x - f);
#else
    const vec<T> shifted = x + L::round;
    vec<T> p = power(x - (shifted - L::round));
    typename L::bits n, value;
    std::memcpy(&n, &shifted, sizeof n);
    std::memcpy(&value, &p, sizeof value);
    value += n << L::mantissa;
    std::memcpy(&p, &value, sizeof p);
    return p;
#endif
}

inline bool any_at_most(vec<float> a, vec<float> b) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(reinterpret_cast<__m512&>(a), reinterpret_cast<__m512&>(b), _CMP_LE_OQ) != 0;
#elif defined(__AVX2__)
    __m256 lower_a, upper_a, lower_b, upper_b;
    std::memcpy(&lower_a, &a, 32), std::memcpy(&upper_a, reinterpret_cast<char*>(&a) + 32, 32);
    std::memcpy(&lower_b, &b, 32), std::memcpy(&upper_b, reinterpret_cast<char*>(&b) + 32, 32);
    const __m256 either = _mm256_or_ps(_mm256_cmp_ps(lower_a, lower_b, _CMP_LE_OQ), _mm256_cmp_ps(upper_a, upper_b, _CMP_LE_OQ));
    return _mm256_movemask_ps(either) != 0;
#else
    const auto less = a <= b;
    int64_t words[8];
    std::memcpy(words, &less, 64);
    return (words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7]) != 0;
#endif
}

inline bool any_at_most(vec<double> a, vec<double> b) {
#if defined(__AVX512F__)
    return _mm512_cmp_pd_mask(reinterpret_cast<__m512d&>(a), reinterpret_cast<__m512d&>(b), _CMP_LE_OQ) != 0;
#else
    const auto less = a <= b;
    int64_t words[8];
    std::memcpy(words, &less, 64);
    return (words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7]) != 0;
#endif
}

// In how many lanes.
template <class T>
inline int count_at_most(vec<T> a, vec<T> b) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return __builtin_popcount(_mm512_cmp_ps_mask(reinterpret_cast<__m512&>(a), reinterpret_cast<__m512&>(b), _CMP_LE_OQ));
    else
        return __builtin_popcount(_mm512_cmp_pd_mask(reinterpret_cast<__m512d&>(a), reinterpret_cast<__m512d&>(b), _CMP_LE_OQ));
#else
    const auto less = a <= b;  // -1 where it holds
    int count = 0;
    for (int lane = 0; lane < Lanes<T>::count; ++lane) count -= int(less[lane]);
    return count;
#endif
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

typedef uint8_t bytes16 __attribute__((vector_size(16)));

INLINE vec<float> widened(bytes16 bytes) {
    Lanes<float>::bits numbers;
#if defined(__AVX512F__)
    reinterpret_cast<__m512i&>(numbers) = _mm512_cvtepu8_epi32(reinterpret_cast<__m128i&>(bytes));
#elif defined(__AVX2__)
    const __m128i some = reinterpret_cast<__m128i&>(bytes);
    const __m256i halves[2] = {_mm256_cvtepu8_epi32(some), _mm256_cvtepu8_epi32(_mm_srli_si128(some, 8))};
    std::memcpy(&numbers, halves, sizeof numbers);
#else
    for (int i = 0; i < 16; ++i) numbers[i] = bytes[i];
#endif
    return __builtin_convertvector(numbers, vec<float>);
}

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
        for (; i + 16 <= count; i += 16) {
            bytes16 bytes;
            std::memcpy(&bytes, from + i, sizeof bytes);
            const vec<float> found = numbers(widened(bytes));
            typedef T sixteen __attribute__((vector_size(16 * sizeof(T))));
            const sixteen wanted = __builtin_convertvector(found, sixteen);
            std::memcpy(to + i, &wanted, sizeof wanted);
        }
    }
    for (; i < count; ++i) to[i] = number<T>(from[i]);
}

// The pixels `begin` ... `begin + count` of several images side by side, as numbers less `centre`.
template <class T, class Stored>
inline void side_by_side(const Stored* const* images, int64_t begin, int64_t count, T centre, T* to) {
    constexpr int L = Lanes<T>::count;
    int64_t done = 0;
    if constexpr (sizeof(Stored) == 1 && L == 16) {
        for (; done + 16 <= count; done += 16) {
            bytes16 block[16];
            for (int lane = 0; lane < L; ++lane) std::memcpy(&block[lane], images[lane] + begin + done, 16);
            transpose(block);
            for (int i = 0; i < 16; ++i) store(to + (done + i) * L, numbers(widened(block[i])) - centre);
        }
    }
    for (int lane = 0; lane < L; ++lane) {
        const Stored* from = images[lane] + begin;
        for (int64_t i = done; i < count; ++i) to[i * L + lane] = number<T>(from[i]) - centre;
    }
}

}  // namespace patchmosaic::PATCHMOSAIC_ISA
