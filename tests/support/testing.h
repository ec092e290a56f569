/// cmocka, and the headers it wants in front of it: include this one and their order is right.
#ifndef DRAY_TESTS_TESTING_H
#define DRAY_TESTS_TESTING_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#ifdef __clang_analyzer__ // which cannot know that an assertion that fails does not return
#undef assert_true
#define assert_true(condition) ((condition) ? (void)0 : __builtin_trap())
#endif

#endif
