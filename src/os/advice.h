/// Advice for madvise() that the C library's header may be too old to name; the kernel decides what it knows.
#ifndef DRAY_OS_ADVICE_H
#define DRAY_OS_ADVICE_H

#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#endif
