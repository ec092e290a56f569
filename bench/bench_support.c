/// Clocks, spreads, and the page cache in a known state.
#include "bench.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

double bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double bench_cpu(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

uint64_t bench_resident(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

bench_spread bench_spread_of(double *values, uint32_t count)
{
    bench_spread spread = {0};
    if (count == 0)
        return spread;
    qsort(values, count, sizeof(*values), by_value);
    spread.smallest = values[0];
    spread.largest = values[count - 1];
    spread.median = count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
    return spread;
}

void bench_print_spread(FILE *out, const char *name, bench_spread spread)
{
    fprintf(out, ",\"%s\":{\"median\":%.4g,\"min\":%.4g,\"max\":%.4g}", name, spread.median,
            spread.smallest, spread.largest);
}

/// Pages of the file in the page cache; -1: cannot be told.
static long cached_pages(int fd, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (bytes + page - 1) / page;
    void *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return -1;
    unsigned char *vector = malloc(pages);
    long cached = -1;
    if (vector && mincore(at, bytes, vector) == 0) {
        cached = 0;
        for (size_t i = 0; i < pages; i++)
            cached += vector[i] & 1;
    }
    free(vector);
    munmap(at, bytes);
    return cached;
}

static void drop_caches(void)
{
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t written = write(fd, "1", 1);
    (void)written; // looked at afterwards through cached_pages
    close(fd);
}

bool bench_evict(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts) < 0 || facts.st_size == 0) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    long left = cached_pages(fd, (size_t)facts.st_size);
    if (left > 0) {
        drop_caches();
        left = cached_pages(fd, (size_t)facts.st_size);
    }
    close(fd);
    return left == 0;
}

bool bench_fill(const char *path)
{
    enum { step = 1 << 20 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *buffer = malloc(step);
    bool filled = fd >= 0 && buffer;
    ssize_t got = 1;
    while (filled && got > 0)
        got = read(fd, buffer, step);
    free(buffer);
    if (fd >= 0)
        close(fd);
    return filled && got == 0;
}

void bench_settle_memory(uint64_t bytes)
{
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return;
    madvise(at, bytes, MADV_HUGEPAGE);
    memset(at, 1, bytes);
    munmap(at, bytes);
}
