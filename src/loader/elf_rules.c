#include "loader/elf_rules.h"

#include "base/quote.h"
#include "os/os.h"

static const char rule[] = "module.trust";

/// What code may need without asking: the C and C++ run time, and the library of the ABI.
static const char *const usual_libraries[] = {
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libc++.so.1",
    "libc++abi.so.1",
    "libatomic.so.1",
    "libgomp.so.1",
    "libomp.so.5",
    "libtvm_ffi.so",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
    NULL,
};

static dray_status refuse(const char *name, const char *what, const char *way, dray_error *error)
{
    return dray_fail_rule(error, DRAY_E_INVALID, rule, DRAY_UNKNOWN,
                          "%s: it has %s; the policy allows that only with %s", name, what, way);
}

static bool is_allowed(const char *const *allowed, dray_text name)
{
    for (; *allowed; allowed++) {
        if (strlen(*allowed) == name.length && memcmp(*allowed, name.bytes, name.length) == 0)
            return true;
    }
    return false;
}

static dray_status check_needed(const dray_policy *policy, const drayi_elf_library *library,
                                const char *name, dray_error *error)
{
    const char *const *allowed = policy->needed ? policy->needed : usual_libraries;
    for (uint64_t i = 0; i < library->needed_count; i++) {
        dray_text needed = drayi_elf_needed(library, i);
        if (!is_allowed(allowed, needed))
            return dray_fail_rule(error, DRAY_E_INVALID, rule, DRAY_UNKNOWN,
                                  "%s: it needs the library %s, which the policy does not list "
                                  "(needed)",
                                  name, drayi_quote(needed).text);
    }
    return DRAY_OK;
}

/// Two modules of one name live beside each other; but who opens a library by its name later would get
/// the module when that has the same.
static dray_status check_soname(drayi_env *env, const dray_policy *policy,
                                const drayi_elf_library *library, const char *name,
                                dray_error *error)
{
    char soname[256], taken_by[256];
    if (!library->soname.bytes || (policy->rules & DRAY_POLICY_ALLOW_SONAME))
        return DRAY_OK;
    if (library->soname.length >= sizeof(soname))
        return refuse(name, "a DT_SONAME of more than 255 bytes", "allow-soname", error);
    memcpy(soname, library->soname.bytes, library->soname.length);
    soname[library->soname.length] = '\0';
    if (soname[0] == '\0')
        return DRAY_OK;
    int taken = env->os->soname_taken(soname, taken_by, sizeof(taken_by));
    if (taken < 0)
        return dray_fail_os(error, -taken, "dlopen", "%s: who else is called %s", name,
                            drayi_quote(library->soname).text);
    if (taken == 0)
        return DRAY_OK;
    return dray_fail_rule(
        error, DRAY_E_INVALID, rule, DRAY_UNKNOWN,
        "%s: its DT_SONAME %s is that of %s, which would be taken for it; the policy "
        "allows that only with allow-soname",
        name, drayi_quote(library->soname).text, taken_by);
}

dray_status drayi_elf_check_rules(drayi_env *env, const dray_policy *policy,
                                  const drayi_elf_library *library, const char *name,
                                  dray_error *error)
{
    if ((library->rpath.bytes || library->runpath.bytes) &&
        !(policy->rules & DRAY_POLICY_ALLOW_RPATH))
        return refuse(name, "a search path of its own (DT_RPATH or DT_RUNPATH)", "allow-rpath",
                      error);
    if (library->text_relocations && !(policy->rules & DRAY_POLICY_ALLOW_TEXTREL))
        return refuse(name, "relocations in its code", "allow-textrel", error);
    if (library->writable_executable && !(policy->rules & DRAY_POLICY_ALLOW_WX))
        return refuse(name, "a segment that is both writable and executable", "allow-wx", error);
    if (library->executable_stack && !(policy->rules & DRAY_POLICY_ALLOW_WX))
        return refuse(name, "a wish for executable stacks, which the whole process would get",
                      "allow-wx", error);
    DRAY_TRY(check_needed(policy, library, name, error));
    return check_soname(env, policy, library, name, error);
}
