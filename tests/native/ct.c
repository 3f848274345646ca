/* Runs the cases of ct.h on every implementation that the tool can run; a line for each: implementation, kernel, what was marked,
 * reports. `ct only NAME` keeps to one implementation;
 * `ct control NAME` runs one leak that was built in, which the tool must report. */
#define _GNU_SOURCE
#include "ct.h"

#include "ct_cases.h"
#include "ct_ring.h"
#include "ct_hint.h"

#include "ct_controls.h"

static void prepare(uint64_t seed)
{
    random_state = 251;
    ct_seed = seed;
    ct_used = 0;
    ct_secrets[0] = 0;
#ifdef CT_TRACE
    trace_path = trace_steps = 0;
#endif
}

/* How often the tool reported something, or with the tracer whether the path changed with the secrets. */
static unsigned reports_of(void (*run)(void))
{
    const unsigned before = REPORTS();
    prepare(1);
    run();
    unsigned found = REPORTS() - before;
#ifdef CT_TRACE
    const uint64_t path = trace_path, steps = trace_steps;
    prepare(2);
    run();
    found += trace_path != path || trace_steps != steps;
    fprintf(stderr, "%s %s: %llu instructions\n", sa_selected(), ct_running, (unsigned long long)steps);
    if (steps < 10) {
        fprintf(stderr, "%s: nothing was traced\n", sa_selected());
        ct_faults++;
    }
#endif
    return found;
}

static int run_control(const char *name)
{
    for (size_t i = 0; i < COUNT(controls); i++)
        if (strcmp(controls[i].name, name) == 0) {
            ct_running = name;
            printf("%s %s %u\n", TOOL, name, reports_of(controls[i].run));
            return 0;
        }
    fprintf(stderr, "no control %s\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    const char *name;
    int bad = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
#ifdef CT_TRACE
    trace_prepare();
#endif
    const char *const only = argc == 3 && strcmp(argv[1], "only") == 0 ? argv[2] : NULL;
    if (argc == 3 && strcmp(argv[1], "control") == 0)
        return run_control(argv[2]);
    for (size_t i = 0; (name = sa_available(i)) != NULL; i++) {
        if (only != NULL && strcmp(only, name) != 0)
            continue;
        if (sa_select(name) != SA_OK)
            return 2;
        for (size_t k = 0; k < ct_count; k++) {
            ct_faults = 0;
            ct_running = ct_cases[k].name;
            const unsigned found = reports_of(ct_cases[k].run);
            printf("%s %s %s %s %u\n", TOOL, name, ct_cases[k].name, ct_secrets, found);
            bad |= found != 0 || ct_faults != 0;
        }
    }
    return bad;
}
