/// Non-temporal stores. An ordinary store first reads the line that it will overwrite; a streaming one
/// does not, which saves a third of the traffic, and prefetching without allocation keeps the source
/// out of the way, too. Wider registers than AVX2's were measured and gain nothing here: the memory is
/// the limit (docs/design/backends.md).
#include "backend/copy_stream.h"

#include <stdbool.h>
#include <string.h>

static void copy_plain(uint8_t *target, const uint8_t *source, size_t bytes)
{
    memcpy(target, source, bytes);
}

static const drayi_stream plain = {.copy = copy_plain, .name = NULL};

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

enum { line_bytes = DRAYI_LINE_BYTES, pair_bytes = 2 * line_bytes, ahead_bytes = 1024 };

/// Bytes in front of the target's first whole line.
static size_t head_bytes(const uint8_t *target, size_t bytes)
{
    size_t head = (line_bytes - (uintptr_t)target % line_bytes) % line_bytes;
    return head < bytes ? head : bytes;
}

/// A prefetch never faults, so it may point behind the source; computed as a number because a pointer
/// may not.
static inline void prefetch(const uint8_t *source)
{
    _mm_prefetch((const char *)((uintptr_t)source + ahead_bytes), _MM_HINT_NTA);
}

static void copy_sse2(uint8_t *target, const uint8_t *source, size_t bytes)
{
    size_t at = head_bytes(target, bytes);
    memcpy(target, source, at);
    for (; bytes - at >= line_bytes; at += line_bytes) {
        const __m128i *from = (const __m128i *)(const void *)(source + at);
        __m128i *to = (__m128i *)(void *)(target + at);
        prefetch(source + at);
        __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
        __m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
        _mm_stream_si128(to, a);
        _mm_stream_si128(to + 1, b);
        _mm_stream_si128(to + 2, c);
        _mm_stream_si128(to + 3, d);
    }
    _mm_sfence();
    memcpy(target + at, source + at, bytes - at);
}

__attribute__((target("avx2"))) static void copy_avx2(uint8_t *target, const uint8_t *source,
                                                      size_t bytes)
{
    size_t at = head_bytes(target, bytes);
    memcpy(target, source, at);
    for (; bytes - at >= pair_bytes; at += pair_bytes) {
        const __m256i *from = (const __m256i *)(const void *)(source + at);
        __m256i *to = (__m256i *)(void *)(target + at);
        prefetch(source + at);
        prefetch(source + at + line_bytes);
        __m256i a = _mm256_loadu_si256(from), b = _mm256_loadu_si256(from + 1);
        __m256i c = _mm256_loadu_si256(from + 2), d = _mm256_loadu_si256(from + 3);
        _mm256_stream_si256(to, a);
        _mm256_stream_si256(to + 1, b);
        _mm256_stream_si256(to + 2, c);
        _mm256_stream_si256(to + 3, d);
    }
    _mm_sfence();
    memcpy(target + at, source + at, bytes - at);
}

static void scatter_sse2(uint8_t *target, const uint8_t *source, const dray_loop *loop,
                         uint64_t runs, size_t run_bytes)
{
    for (uint64_t i = 0; i < runs; i++) {
        const uint8_t *run = source + i * loop->source_stride;
        __m128i *to = (__m128i *)(void *)(target + i * loop->target_stride);
        for (size_t at = 0; at < run_bytes; at += line_bytes, to += 4) {
            const __m128i *from = (const __m128i *)(const void *)(run + at);
            prefetch(run + at);
            _mm_stream_si128(to, _mm_loadu_si128(from));
            _mm_stream_si128(to + 1, _mm_loadu_si128(from + 1));
            _mm_stream_si128(to + 2, _mm_loadu_si128(from + 2));
            _mm_stream_si128(to + 3, _mm_loadu_si128(from + 3));
        }
    }
}

__attribute__((target("avx2"))) static void scatter_avx2(uint8_t *target, const uint8_t *source,
                                                         const dray_loop *loop, uint64_t runs,
                                                         size_t run_bytes)
{
    for (uint64_t i = 0; i < runs; i++) {
        const uint8_t *run = source + i * loop->source_stride;
        __m256i *to = (__m256i *)(void *)(target + i * loop->target_stride);
        for (size_t at = 0; at < run_bytes; at += line_bytes, to += 2) {
            const __m256i *from = (const __m256i *)(const void *)(run + at);
            prefetch(run + at);
            _mm256_stream_si256(to, _mm256_loadu_si256(from));
            _mm256_stream_si256(to + 1, _mm256_loadu_si256(from + 1));
        }
    }
}

static void settle(void)
{
    _mm_sfence();
}

drayi_stream drayi_stream_named(const char *name)
{
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2");
    if (strcmp(name, "AVX2") == 0)
        return (drayi_stream){.copy = avx2 ? copy_avx2 : NULL,
                              .scatter = avx2 ? scatter_avx2 : NULL,
                              .settle = settle,
                              .name = "AVX2"};
    if (strcmp(name, "SSE2") == 0)
        return (drayi_stream){
            .copy = copy_sse2, .scatter = scatter_sse2, .settle = settle, .name = "SSE2"};
    return plain;
}

drayi_stream drayi_stream_choose(void)
{
    drayi_stream best = drayi_stream_named("AVX2");
    return best.copy ? best : drayi_stream_named("SSE2");
}

#else

drayi_stream drayi_stream_named(const char *name)
{
    (void)name;
    return plain;
}

drayi_stream drayi_stream_choose(void)
{
    return plain;
}

#endif
