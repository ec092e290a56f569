/// The members of drayi_os_linux for shared objects that arrive in a file descriptor; see os.h.
#ifndef DRAY_OS_OS_MODULE_H
#define DRAY_OS_OS_MODULE_H

#include "os/os.h"

void *drayi_module_open(const char *path, char *out_why, size_t why_bytes);
int drayi_path_is_loaded(const char *path);
int drayi_module_base(void *library, const char *path, uint64_t *out_base);
int drayi_same_mapping(const void *one, const void *other);
int drayi_soname_taken(const char *soname, char *out_by, size_t by_bytes);
int drayi_trial_run(int (*work)(void *self, char *out_why, size_t why_bytes), void *self,
                    int64_t timeout_ns, drayi_trial *out);

#endif
