/* Leaks on purpose. Each tool must report those it claims to see (the table in test_ct.py), or a run without reports says nothing. */
static volatile uint64_t control_sink;

/* A branch that no optimiser turns into a conditional move. */
static void __attribute__((noinline)) leak_branch(const uint8_t *key)
{
    if (key[3] & 1)
        __asm__ __volatile__("nop");
    else
        __asm__ __volatile__("nop\n\tnop");
}

/* An S-box, say. */
static void __attribute__((noinline)) leak_index(const uint8_t *key)
{
    static const uint8_t table[256] = {1, 2, 3};
    control_sink = table[key[0]];
}

/* A comparison that stops where the bytes differ. */
static void __attribute__((noinline)) leak_comparison(const uint8_t *key)
{
    static const uint8_t other[16] = {0};
    size_t i = 0;
    while (i < 16 && ((key[i] ^ other[i]) & 1) == 0)
        i++;
    control_sink = i;
}

static void __attribute__((noinline)) leak_division(const uint8_t *key)
{
    uint64_t divisor;
    memcpy(&divisor, key, sizeof divisor);
    control_sink = UINT64_MAX / (divisor | 1);
}

/* A secret that went through a kernel: the tool follows it through the vectors of every implementation. */
static void __attribute__((noinline)) leak_keystream(const uint8_t *key)
{
    uint8_t *const out = room(600);
    if (sa_keystream_fill(key, 1, 2, out, 600) != SA_OK)
        abort();
    leak_branch(out + 80);
}

static void __attribute__((noinline)) leak_nothing(const uint8_t *key)
{
    uint64_t word;
    memcpy(&word, key, sizeof word);
    for (int i = 0; i < 9; i++)
        word = word * 3 ^ word >> 7;
    control_sink = word;
}

#define CONTROL(leak)                                    \
    static void control_##leak(void)                     \
    {                                                    \
        const uint8_t *const key = SECRET(key, 16, ANY); \
        STEPWISE(leak_##leak(key));                      \
    }
CONTROL(branch)
CONTROL(index)
CONTROL(comparison)
CONTROL(division)
CONTROL(keystream)
CONTROL(nothing)

static const struct ct_case controls[] = {
    {"branch", control_branch},       {"index", control_index},         {"comparison", control_comparison},
    {"division", control_division},   {"keystream", control_keystream}, {"nothing", control_nothing},
};
