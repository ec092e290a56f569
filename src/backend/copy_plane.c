/// A plane is walked in blocks as high as a line of the target is long, so that every line is written while
/// it is in the cache; inside, squares of 16 bytes a side are transposed in registers: n rows of n elements
/// become n columns by interleaving the first half of the rows with the second, log2 n times.
#include "backend/copy_plane.h"

#include "base/checked.h"

#include <string.h>

enum { line_bytes = 64, element_most = 32 };

bool drayi_plane_serves(size_t element_bytes)
{
    return element_bytes <= element_most && drayi_is_power_of_two(element_bytes);
}

typedef struct block {
    uint64_t row, column, rows, columns; // of the plane
} block;

/// With a constant element size the compiler turns each memcpy into one move.
__attribute__((always_inline)) static inline void block_copy(const drayi_plane *plane, block part,
                                                             uint8_t *target, const uint8_t *source,
                                                             size_t bytes)
{
    for (uint64_t column = part.column; column < part.column + part.columns; column++) {
        uint8_t *to = target + column * plane->target_pitch + part.row * bytes;
        const uint8_t *from = source + part.row * plane->source_pitch + column * bytes;
        for (uint64_t row = 0; row < part.rows; row++)
            memcpy(to + row * bytes, from + row * plane->source_pitch, bytes);
    }
}

static void block_copy_any(const drayi_plane *plane, block part, uint8_t *target,
                           const uint8_t *source)
{
    switch (plane->element_bytes) {
    case 1:
        block_copy(plane, part, target, source, 1);
        break;
    case 2:
        block_copy(plane, part, target, source, 2);
        break;
    case 4:
        block_copy(plane, part, target, source, 4);
        break;
    case 8:
        block_copy(plane, part, target, source, 8);
        break;
    case 16:
        block_copy(plane, part, target, source, 16);
        break;
    case 32:
        block_copy(plane, part, target, source, 32);
        break;
    default:
        block_copy(plane, part, target, source, plane->element_bytes);
    }
}

typedef void square_fn(uint8_t *target, const uint8_t *source, uint64_t target_pitch,
                       uint64_t source_pitch);

/// A band of rows, one line of the target high: squares of `side` elements, then what is left over.
static void band_copy(const drayi_plane *plane, block band, uint64_t side, square_fn *square,
                      uint8_t *target, const uint8_t *source)
{
    uint64_t whole_rows = square ? band.rows / side * side : 0,
             whole_columns = whole_rows ? plane->columns / side * side : 0;
    size_t bytes = plane->element_bytes;
    for (uint64_t column = 0; column < whole_columns; column += side) {
        for (uint64_t row = band.row; row < band.row + whole_rows; row += side)
            // cppcheck-suppress nullPointer ; without it there are no whole columns
            square(target + column * plane->target_pitch + row * bytes,
                   source + row * plane->source_pitch + column * bytes, plane->target_pitch,
                   plane->source_pitch);
    }
    block right = {band.row, whole_columns, whole_rows, plane->columns - whole_columns};
    block below = {band.row + whole_rows, 0, band.rows - whole_rows, plane->columns};
    block_copy_any(plane, right, target, source);
    block_copy_any(plane, below, target, source);
}

static void plane_walk(const drayi_plane *plane, uint64_t side, square_fn *square, uint8_t *target,
                       const uint8_t *source)
{
    uint64_t height = drayi_max(line_bytes / plane->element_bytes, 1);
    for (uint64_t row = 0; row < plane->rows; row += height) {
        block band = {row, 0, drayi_min(height, plane->rows - row), plane->columns};
        band_copy(plane, band, side, square, target, source);
    }
}

void drayi_plane_copy_plainly(const drayi_plane *plane, uint8_t *target, const uint8_t *source)
{
    plane_walk(plane, 0, NULL, target, source);
}

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h> // SSE2, which every such CPU has

typedef __m128i interleave_fn(__m128i a, __m128i b);

__attribute__((always_inline)) static inline void square_transpose(
    uint8_t *target, const uint8_t *source, uint64_t target_pitch, uint64_t source_pitch,
    unsigned side, interleave_fn *low, interleave_fn *high)
{
    __m128i rows[16], mixed[16];
    for (unsigned i = 0; i < side; i++)
        rows[i] = _mm_loadu_si128((const __m128i *)(const void *)(source + i * source_pitch));
    for (unsigned left = side; left > 1; left /= 2) {
        for (unsigned i = 0; i < side / 2; i++) {
            mixed[(size_t)2 * i] = low(rows[i], rows[i + side / 2]);
            mixed[2 * i + 1] = high(rows[i], rows[i + side / 2]);
        }
        memcpy(rows, mixed, side * sizeof(rows[0]));
    }
    for (unsigned i = 0; i < side; i++)
        _mm_storeu_si128((__m128i *)(void *)(target + i * target_pitch), rows[i]);
}

static inline __m128i low8(__m128i a, __m128i b)
{
    return _mm_unpacklo_epi8(a, b);
}
static inline __m128i high8(__m128i a, __m128i b)
{
    return _mm_unpackhi_epi8(a, b);
}
static inline __m128i low16(__m128i a, __m128i b)
{
    return _mm_unpacklo_epi16(a, b);
}
static inline __m128i high16(__m128i a, __m128i b)
{
    return _mm_unpackhi_epi16(a, b);
}
static inline __m128i low32(__m128i a, __m128i b)
{
    return _mm_unpacklo_epi32(a, b);
}
static inline __m128i high32(__m128i a, __m128i b)
{
    return _mm_unpackhi_epi32(a, b);
}
static inline __m128i low64(__m128i a, __m128i b)
{
    return _mm_unpacklo_epi64(a, b);
}
static inline __m128i high64(__m128i a, __m128i b)
{
    return _mm_unpackhi_epi64(a, b);
}

static void square8(uint8_t *target, const uint8_t *source, uint64_t target_pitch,
                    uint64_t source_pitch)
{
    square_transpose(target, source, target_pitch, source_pitch, 16, low8, high8);
}
static void square16(uint8_t *target, const uint8_t *source, uint64_t target_pitch,
                     uint64_t source_pitch)
{
    square_transpose(target, source, target_pitch, source_pitch, 8, low16, high16);
}
static void square32(uint8_t *target, const uint8_t *source, uint64_t target_pitch,
                     uint64_t source_pitch)
{
    square_transpose(target, source, target_pitch, source_pitch, 4, low32, high32);
}
static void square64(uint8_t *target, const uint8_t *source, uint64_t target_pitch,
                     uint64_t source_pitch)
{
    square_transpose(target, source, target_pitch, source_pitch, 2, low64, high64);
}

void drayi_plane_copy(const drayi_plane *plane, uint8_t *target, const uint8_t *source)
{
    switch (plane->element_bytes) {
    case 1:
        plane_walk(plane, 16, square8, target, source);
        break;
    case 2:
        plane_walk(plane, 8, square16, target, source);
        break;
    case 4:
        plane_walk(plane, 4, square32, target, source);
        break;
    case 8:
        plane_walk(plane, 2, square64, target, source);
        break;
    default:
        drayi_plane_copy_plainly(plane, target, source);
    }
}

#else

void drayi_plane_copy(const drayi_plane *plane, uint8_t *target, const uint8_t *source)
{
    drayi_plane_copy_plainly(plane, target, source);
}

#endif
