/* The path of a call, one machine instruction at a time: the processor traps after each while the trap flag is set, and the handler
 * adds the address to a hash. It sees the code that was compiled, also of instructions that no other tool knows; which addresses
 * the data were read from it does not see. x86-64 on Linux or another System V system. */
#ifndef SA_TEST_CT_TRACE_H
#define SA_TEST_CT_TRACE_H

#include <signal.h>
#include <ucontext.h>

static volatile uint64_t trace_path, trace_steps;

static void trace_step(int signal, siginfo_t *info, void *context)
{
    const ucontext_t *const at = context;
    (void)signal;
    (void)info;
    trace_path = (trace_path ^ (uint64_t)at->uc_mcontext.gregs[REG_RIP]) * 0x100000001b3; /* FNV-1a, by words */
    trace_steps++;
}

static void trace_prepare(void)
{
    struct sigaction action = {0};
    action.sa_sigaction = trace_step;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGTRAP, &action, NULL);
}

/* Past the red zone, which leaf functions may be using. */
#define TRAP_FLAG(operation, bits)                                                                               \
    __asm__ __volatile__("lea -128(%%rsp), %%rsp\n\tpushfq\n\t" operation "q %0, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" \
                         : : "i"(bits) : "memory", "cc")
#define STEPWISE(call)           \
    do {                         \
        TRAP_FLAG("or", 0x100);  \
        call;                    \
        TRAP_FLAG("and", ~0x100); \
    } while (0)

#endif
