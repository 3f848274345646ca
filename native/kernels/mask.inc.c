/* One lane width of the mask kernel. The including file defines SA_ISA, SA_ISA_TARGET, SA_VEC (its register type),
 * SA_SCHEDULE (bytes per key), SA_COUNTERS(stream_id, ctr) -> c0..c7 and SA_ENCRYPT(schedule): c0..c7 -> s0..s7;
 * and, before each inclusion, SA_BITS. Eight registers of acc stay put while all keys go by. */
#define SA_LANE SA_CAT(SA_CAT(uint, SA_BITS), _t)
#define SA_LVEC SA_CAT(lvec, SA_BITS)
#define SA_MASK_FN SA_CAT(SA_CAT(SA_CAT(sa_mask_apply_u, SA_BITS), _), SA_ISA)

typedef SA_LANE SA_LVEC __attribute__((vector_size(sizeof(SA_VEC))));

#define SA_ACC_LOAD(i) \
    SA_LVEC a##i;      \
    memcpy(&a##i, acc + i * sizeof(SA_VEC), sizeof(SA_VEC));
#define SA_ACC_ADD(i) a##i += (SA_LVEC)s##i;
#define SA_ACC_SUB(i) a##i -= (SA_LVEC)s##i;
#define SA_ACC_STORE(i) \
    a##i &= keep;       \
    memcpy(acc + i * sizeof(SA_VEC), &a##i, sizeof(SA_VEC));

/* CT: secret=acc, schedules; public=chunks, npos, nneg, stream_id, ctr, mask */
SA_ISA_TARGET void SA_MASK_FN(uint8_t *acc, size_t chunks, const uint8_t *schedules, size_t npos, size_t nneg,
                              uint64_t stream_id, uint64_t ctr, uint64_t mask)
{
    const SA_LVEC keep = (SA_LVEC){0} + (SA_LANE)mask;
    for (; chunks != 0; chunks--) {
        SA_COUNTERS(stream_id, ctr)
        SA_EIGHT(SA_ACC_LOAD)
        const uint8_t *schedule = schedules;
        const uint8_t *const minus = schedules + npos * SA_SCHEDULE;
        const uint8_t *const end = minus + nneg * SA_SCHEDULE;
        for (; schedule != minus; schedule += SA_SCHEDULE) {
            SA_ENCRYPT(schedule)
            SA_EIGHT(SA_ACC_ADD)
        }
        for (; schedule != end; schedule += SA_SCHEDULE) {
            SA_ENCRYPT(schedule)
            SA_EIGHT(SA_ACC_SUB)
        }
        SA_EIGHT(SA_ACC_STORE)
        acc += 8 * sizeof(SA_VEC);
        ctr += 8 * sizeof(SA_VEC) / 16;
    }
}

#undef SA_ACC_LOAD
#undef SA_ACC_ADD
#undef SA_ACC_SUB
#undef SA_ACC_STORE
#undef SA_LANE
#undef SA_LVEC
#undef SA_MASK_FN
#undef SA_BITS
