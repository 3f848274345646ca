/* Kernels with their secrets marked, for a tool that reports a branch or an address that depends on them. One case a kernel:
 *
 *     CASE(sa_lanes_add_u16)
 *     {
 *         uint16_t *acc = SECRET(acc, 300 * 2, ANY), *other = SECRET(other, 300 * 2, ANY);
 *         CALL(sa_lanes_add_u16(acc, other, 300, 13));
 *         REACHED(acc, 300 * 2);
 *     }
 *
 * The names are those of the kernel's `CT:` line, and test_ct.py holds the two together. Three tools read one and the same
 * cases: memcheck and MemorySanitizer take marked bytes for uninitialised ones and follow them; the tracer (CT_TRACE) runs each
 * case with several secrets, one machine instruction at a time, and compares the paths. */
#ifndef SA_TEST_CT_H
#define SA_TEST_CT_H

#include "../../native/common/ct.h"
#include "driver.h"

#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define TOOL "msan"
#define REMARKS 1
#define HIDE(p, nbytes) __msan_poison(p, nbytes)
#define SHOW(p, nbytes) __msan_unpoison(p, nbytes)
#define IS_ANY_HIDDEN(p, nbytes) (__msan_test_shadow(p, nbytes) >= 0)
#define IS_HIDDEN(p) IS_ANY_HIDDEN(p, 1)
#define REPORTS() 0u /* it stops at the first */
#elif defined(CT_TRACE)
#define TOOL "trace"
#define REMARKS 0
#define HIDE(p, nbytes) ((void)(p), (void)(nbytes))
#define SHOW(p, nbytes) ((void)(p), (void)(nbytes))
#define IS_HIDDEN(p) ((void)(p), 1)
#define REPORTS() 0u
#else
#include <valgrind/memcheck.h>
#define REMARKS 0
#define TOOL (RUNNING_ON_VALGRIND ? "memcheck" : "none")
#define HIDE(p, nbytes) (void)VALGRIND_MAKE_MEM_UNDEFINED(p, nbytes)
#define SHOW(p, nbytes) (void)VALGRIND_MAKE_MEM_DEFINED(p, nbytes)
#define IS_HIDDEN(p) is_hidden(p)
#define REPORTS() VALGRIND_COUNT_ERRORS
static int is_hidden(const void *p)
{
    uint8_t bits = 0;
    return !RUNNING_ON_VALGRIND || (VALGRIND_GET_VBITS(p, &bits, 1) == 1 && bits != 0);
}
#endif

#ifdef CT_TRACE
#include "ct_trace.h"
#else
#define STEPWISE(call) call
#endif

uint64_t sa_ct_reveal(uint64_t v)
{
    SHOW(&v, sizeof v);
    return v;
}

/* Memcheck needs no help, and without this it shows that it sees the carries. */
void sa_ct_mark(void *p, size_t nbytes)
{
    if (REMARKS)
        HIDE(p, nbytes);
}

#if __has_feature(memory_sanitizer)
uint64_t sa_ct_hide(uint64_t v)
{
    if (IS_ANY_HIDDEN(&v, sizeof v))
        HIDE(&v, sizeof v);
    return v;
}
#endif

struct ct_case {
    const char *name;
    void (*run)(void);
};
static struct ct_case ct_cases[256];
static size_t ct_count;
static const char *ct_running;
static char ct_secrets[256];       /* the names that the running case has marked */
static uint64_t ct_seed;           /* of the secrets alone */
static int ct_faults;              /* of the running case: codes, or a secret that never arrived */
static uint8_t ct_arena[1 << 21] __attribute__((aligned(64))); /* the same addresses in every run, for the tracer */
static size_t ct_used;

#define CASE(kernel)                                              \
    static void ct_##kernel(void);                                \
    __attribute__((constructor)) static void add_##kernel(void)   \
    {                                                             \
        ct_cases[ct_count++] = (struct ct_case){#kernel, ct_##kernel}; \
    }                                                             \
    static void ct_##kernel(void)

/* Zeros. Odd addresses are driver.c's business. */
static void *room(size_t nbytes)
{
    void *const p = ct_arena + ct_used;
    ct_used += (nbytes + 64) & ~(size_t)63;
    if (ct_used > sizeof ct_arena)
        abort();
    SHOW(p, nbytes);
    memset(p, 0, nbytes);
    return p;
}

static uint64_t secret_random(void)
{
    const uint64_t kept = random_state;
    random_state = ct_seed;
    const uint64_t v = next_random();
    ct_seed = random_state;
    random_state = kept;
    return v;
}

/* What the secrets may be: any bytes, words below a bound, or finite numbers from -1 to 1. */
#define ANY 0
#define BELOW(bound) (bound)
#define SINGLE 1
#define DOUBLE 2

static void *secret(const char *name, size_t nbytes, uint64_t kind)
{
    uint8_t *const p = room(nbytes);
    for (size_t i = 0; kind == ANY && i < nbytes; i++)
        p[i] = (uint8_t)secret_random();
    for (size_t i = 0; kind == SINGLE && i < nbytes / 4; i++)
        ((float *)(void *)p)[i] = (float)((double)(int64_t)secret_random() / 9.3e18);
    for (size_t i = 0; kind == DOUBLE && i < nbytes / 8; i++)
        ((double *)(void *)p)[i] = (double)(int64_t)secret_random() / 9.3e18;
    for (size_t i = 0; kind > DOUBLE && i < nbytes / 8; i++)
        ((uint64_t *)(void *)p)[i] = secret_random() % kind;
    HIDE(p, nbytes);
    if (ct_secrets[0] != 0)
        strcat(ct_secrets, ",");
    strcat(ct_secrets, name);
    return p;
}
#define SECRET(name, nbytes, kind) secret(#name, nbytes, kind)

/* The call must succeed: its code is public. */
#define CALL(call)                                                             \
    do {                                                                       \
        int code_;                                                             \
        STEPWISE(code_ = (call));                                              \
        if (code_ != SA_OK) {                                                  \
            fprintf(stderr, "%s: %s gives %d\n", sa_selected(), #call, code_); \
            ct_faults++;                                                       \
        }                                                                      \
    } while (0)

/* The tool has followed the secrets all the way: something of the result is marked. Without this a tool that loses sight of them
 * would find nothing, and pass. The bytes are public from here on. */
static void reached(const char *name, void *p, size_t nbytes)
{
    size_t hidden = 0;
    for (size_t i = 0; i < nbytes; i++)
        hidden += (size_t)IS_HIDDEN((uint8_t *)p + i);
    if (hidden == 0) {
        fprintf(stderr, "%s: no secret has arrived in %s of %s\n", sa_selected(), name, ct_running);
        ct_faults++;
    }
    SHOW(p, nbytes);
}
#define REACHED(p, nbytes) reached(#p, p, nbytes)

#endif
