/* The AES rounds alone, on eight registers; SA_ENC(i) is one round of s<i> under rk. The bound that masks are measured against. */
#define SA_STATE_LOAD(i) \
    SA_VEC s##i;         \
    memcpy(&s##i, state + i * sizeof(SA_VEC), sizeof(SA_VEC));
#define SA_STATE_STORE(i) memcpy(state + i * sizeof(SA_VEC), &s##i, sizeof(SA_VEC));

/* Ten rounds for every chunk, with one register as every round key.
 * CT: secret=none; public=all */
SA_ISA_TARGET void SA_CAT(sa_aes_rounds_, SA_ISA)(uint8_t *state, size_t chunks)
{
    SA_EIGHT(SA_STATE_LOAD)
    const SA_VEC rk = s0;
    for (; chunks != 0; chunks--) {
        SA_EIGHT(SA_ENC) SA_EIGHT(SA_ENC) SA_EIGHT(SA_ENC) SA_EIGHT(SA_ENC) SA_EIGHT(SA_ENC)
        SA_EIGHT(SA_ENC) SA_EIGHT(SA_ENC) SA_EIGHT(SA_ENC) SA_EIGHT(SA_ENC) SA_EIGHT(SA_ENC)
    }
    SA_EIGHT(SA_STATE_STORE)
}
