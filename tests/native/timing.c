/* Does the time of a kernel tell two classes of secrets apart? Measurements of both are taken in random order; a line for each kernel
 * and implementation: Welch's t, largest over the cuts at which slow outliers are dropped (Reparaz, Balasch and Verbauwhede, "Dude,
 * is my code constant time?", DATE 2017). x86-64. `timing BATCHES` sets how much is measured. */
#include <math.h>
#include <x86intrin.h>

#include "../../native/common/ct.h"
#include "driver_hint_table.h"

enum { SIZE = 1 << 16, BATCH = 2000, CUTS = 12 };

/* What a measurement works on; secrets are put here for one class or the other, and the kernel sees these addresses only. */
static uint8_t key[16] __attribute__((aligned(64))), a[SIZE] __attribute__((aligned(64))), b[SIZE] __attribute__((aligned(64)));
static uint8_t out[SIZE] __attribute__((aligned(64))), scratch[SIZE] __attribute__((aligned(64)));
static uint64_t *table, weights[8], xs[8], clipped, thresholds[2 * HINT_THRESHOLDS];
static volatile int sink;

/* Both classes are put there by the same instructions, or the kernel would find its cache lines and store buffers in two states. */
static void words_below(uint8_t *to, size_t n, uint64_t bound, int class)
{
    const uint64_t keep = sa_ct_hide(0 - (uint64_t)class);
    for (size_t i = 0; i < n; i++)
        ((uint64_t *)(void *)to)[i] = next_random() % bound & keep;
}

static void put_key(int class)
{
    words_below((uint8_t *)key, 2, UINT64_MAX, class);
}

/* From -1 to 1; in class 0 of these only the bits of `keep`. In integers, as arithmetic would itself take two times. */
static void singles(int class, uint32_t keep)
{
    const uint32_t mask = keep | (uint32_t)sa_ct_hide(0 - (uint64_t)class);
    put_key(1);
    for (size_t i = 0; i < 1024; i++) {
        const float v = (float)((double)(int64_t)next_random() / 9.3e18);
        uint32_t bits;
        memcpy(&bits, &v, 4);
        ((uint32_t *)(void *)a)[i] = bits & mask;
    }
}

static void doubles(int class, uint64_t keep)
{
    const uint64_t mask = keep | sa_ct_hide(0 - (uint64_t)class);
    put_key(1);
    for (size_t i = 0; i < 1024; i++) {
        const double v = (double)(int64_t)next_random() / 9.3e18;
        uint64_t bits;
        memcpy(&bits, &v, 8);
        ((uint64_t *)(void *)a)[i] = bits & mask;
    }
}

static void put_bytes(int class) /* equal, or different in the first byte */
{
    random_bytes(a, 1024);
    memcpy(b, a, 1024);
    b[0] = (uint8_t)(b[0] ^ class);
}
static void run_equal(void)
{
    sink = sa_ct_equal(a, b, 1024);
}
static void run_leak(void)
{
    size_t i = 0;
    while (i < 1024 && a[i] == b[i])
        i++;
    sink = (int)i;
}

static void put_secrets(int class)
{
    words_below(a, 64, REF_P, class);
    words_below(b, 64 * 4, REF_P, class);
}
static void run_split(void)
{
    sink = sa_shamir_split_u64((void *)a, 64, (void *)b, 5, xs, 8, (void *)out);
}
static void run_combine(void)
{
    sink = sa_shamir_combine_u64(weights, 5, (void *)b, 50, (void *)out);
}

static void run_ternary(void)
{
    sink = sa_ring_sample(table, SA_TERNARY, (void *)out, 1, key, 7, 5, scratch, SIZE);
}
static void run_binomial(void)
{
    sink = sa_ring_sample(table, SA_BINOMIAL, (void *)out, 1, key, 7, 5, scratch, SIZE);
}
static void run_uniform(void)
{
    sink = sa_ring_sample(table, SA_UNIFORM, (void *)out, 1, key, 7, 5, scratch, SIZE);
}

static void run_gaussian(void)
{
    sink = sa_hint_gaussian(thresholds, HINT_THRESHOLDS, (void *)out, 1024, key, 7, 5, scratch, SIZE);
}

static void put_singles(int class) /* zeros, or anything, of which a quarter is clipped */
{
    singles(class, 0);
}
static void put_tiny_singles(int class) /* subnormal, or anything */
{
    singles(class, 0x807fffff);
}
static void put_tiny_doubles(int class)
{
    doubles(class, 0x800fffffffffffff);
}
static void run_rounding(void)
{
    sink = sa_fixed_encode_f32_u32((void *)a, 1024, 0.75, 24, (void *)out, key, 7, 4, 5, &clipped);
}
static void run_rounding_doubles(void)
{
    sink = sa_fixed_encode_f64_u32((void *)a, 1024, 0.75, 24, (void *)out, key, 7, 4, 5, &clipped);
}

static const struct {
    const char *name;
    void (*put)(int class), (*run)(void);
} kernels[] = {
    {"leak", put_bytes, run_leak},
    {"equal", put_bytes, run_equal},
    {"split", put_secrets, run_split},
    {"combine", put_secrets, run_combine},
    {"ternary", put_key, run_ternary},
    {"binomial", put_key, run_binomial},
    {"uniform", put_key, run_uniform},
    {"gaussian", put_key, run_gaussian},
    {"rounding", put_singles, run_rounding},
    {"rounding-tiny-f32", put_tiny_singles, run_rounding},
    {"rounding-tiny-f64", put_tiny_doubles, run_rounding_doubles},
};

struct welch {
    double n[2], mean[2], m2[2];
};

static void take(struct welch *w, int class, double x)
{
    const double delta = x - w->mean[class];
    w->n[class] += 1.0;
    w->mean[class] += delta / w->n[class];
    w->m2[class] += delta * (x - w->mean[class]);
}

static double t_of(const struct welch *w)
{
    if (w->n[0] < 1000.0 || w->n[1] < 1000.0)
        return 0.0;
    const double spread = w->m2[0] / (w->n[0] - 1.0) / w->n[0] + w->m2[1] / (w->n[1] - 1.0) / w->n[1];
    return spread > 0.0 ? (w->mean[0] - w->mean[1]) / sqrt(spread) : 0.0;
}

static int ascending(const void *p, const void *q)
{
    const double x = *(const double *)p, y = *(const double *)q;
    return (x > y) - (x < y);
}

static double measure(size_t kernel, size_t batches)
{
    static double times[BATCH], sorted[BATCH];
    static int classes[BATCH];
    struct welch all[CUTS] = {{{0}, {0}, {0}}};
    double cuts[CUTS] = {0}, worst = 0.0;
    for (size_t batch = 0; batch <= batches; batch++) {
        for (size_t i = 0; i < BATCH; i++) {
            unsigned aux;
            classes[i] = (int)(next_random() >> 63);
            kernels[kernel].put(classes[i]);
            _mm_lfence();
            const uint64_t begin = __rdtsc();
            _mm_lfence();
            kernels[kernel].run();
            times[i] = (double)(__rdtscp(&aux) - begin);
        }
        if (batch == 0) { /* warms up, and says where to cut */
            memcpy(sorted, times, sizeof times);
            qsort(sorted, BATCH, sizeof sorted[0], ascending);
            for (size_t c = 0; c < CUTS; c++)
                cuts[c] = c == 0 ? INFINITY : sorted[(size_t)(BATCH * (1.0 - pow(0.5, (double)c * 4.0 / CUTS)))];
            continue;
        }
        for (size_t i = 0; i < BATCH; i++)
            for (size_t c = 0; c < CUTS; c++)
                if (times[i] < cuts[c])
                    take(&all[c], classes[i], times[i]);
    }
    for (size_t c = 0; c < CUTS; c++)
        worst = fabs(t_of(&all[c])) > fabs(worst) ? t_of(&all[c]) : worst;
    return worst;
}

int main(int argc, char **argv)
{
    const size_t batches = argc > 1 ? (size_t)atoi(argv[1]) : 20;
    uint64_t inverse[8];
    const char *name;
    table = ring_table(1024, ring_moduli[2]);
    hint_thresholds(thresholds, HINT_THRESHOLDS, 3);
    for (size_t i = 0; i < 8; i++)
        xs[i] = i + 1;
    if (sa_ring_scratch_bytes(1024) > SIZE || sa_shamir_weights_u64(xs, 5, weights, inverse) != SA_OK)
        return 2;
    for (size_t i = 0; (name = sa_available(i)) != NULL; i++)
        for (size_t k = 0; k < COUNT(kernels) && sa_select(name) == SA_OK; k++) {
            random_state = 251 + argc * k; /* other inputs for other kernels */
            printf("%s %s %.2f\n", name, kernels[k].name, measure(k, batches));
        }
    return 0;
}
