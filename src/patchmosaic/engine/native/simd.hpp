// 64 bytes of numbers, in the compiler's own vector types: the same source serves AVX-512 (one register), AVX2 (two), SSE2 and
// NEON (four). Only the test "is any lane smaller?" is written for each.
#pragma once

#include <cstdint>
#include <cstring>
#include <iterator>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

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

// 2^x for x <= 0; below Lanes::floor it stays at the smallest normal number, where arithmetic is still fast.
template <class T>
inline vec<T> exp2(vec<T> x) {
    using L = Lanes<T>;
    x = x > L::floor ? x : splat<T>(L::floor);
    const vec<T> shifted = x + L::round;
    const vec<T> f = x - (shifted - L::round);
    constexpr int degree = std::size(L::exp2_coefficients) - 1;
    vec<T> p = splat<T>(L::exp2_coefficients[degree]);
    for (int k = degree - 1; k >= 0; --k) p = p * f + L::exp2_coefficients[k];
    typename L::bits n, value;
    std::memcpy(&n, &shifted, sizeof n);
    std::memcpy(&value, &p, sizeof value);
    value += n << L::mantissa;
    std::memcpy(&p, &value, sizeof p);
    return p;
}

inline bool any_less(vec<float> a, vec<float> b) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(reinterpret_cast<__m512&>(a), reinterpret_cast<__m512&>(b), _CMP_LT_OQ) != 0;
#elif defined(__AVX2__)
    __m256 lower_a, upper_a, lower_b, upper_b;
    std::memcpy(&lower_a, &a, 32), std::memcpy(&upper_a, reinterpret_cast<char*>(&a) + 32, 32);
    std::memcpy(&lower_b, &b, 32), std::memcpy(&upper_b, reinterpret_cast<char*>(&b) + 32, 32);
    const __m256 either = _mm256_or_ps(_mm256_cmp_ps(lower_a, lower_b, _CMP_LT_OQ), _mm256_cmp_ps(upper_a, upper_b, _CMP_LT_OQ));
    return _mm256_movemask_ps(either) != 0;
#else
    const auto less = a < b;
    int64_t words[8];
    std::memcpy(words, &less, 64);
    return (words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7]) != 0;
#endif
}

inline bool any_less(vec<double> a, vec<double> b) {
#if defined(__AVX512F__)
    return _mm512_cmp_pd_mask(reinterpret_cast<__m512d&>(a), reinterpret_cast<__m512d&>(b), _CMP_LT_OQ) != 0;
#else
    const auto less = a < b;
    int64_t words[8];
    std::memcpy(words, &less, 64);
    return (words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7]) != 0;
#endif
}

}  // namespace patchmosaic::PATCHMOSAIC_ISA
