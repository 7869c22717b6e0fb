/* Handlers for faults and for signals that the program sends itself. */
#include "check.h"
#include <setjmp.h>

static sigjmp_buf back;
static volatile int seen, code;
static volatile uintptr_t address;

static void jump(int number, siginfo_t *info, void *context)
{
    (void)context;
    seen = number;
    code = info->si_code;
    address = (uintptr_t)info->si_addr;
    siglongjmp(back, 1);
}

static void note(int number) { seen = number; }

static void catch(int number)
{
    struct sigaction action = {.sa_sigaction = jump, .sa_flags = SA_SIGINFO};
    CALL(sigaction(number, &action, NULL));
}

#define FAULT(what)                                                                      \
    do {                                                                                 \
        seen = code = 0;                                                                 \
        address = 1;                                                                     \
        if (!sigsetjmp(back, 1)) {                                                       \
            what;                                                                        \
        }                                                                                \
        printf("%s: signal %d, code %d\n", #what, seen, code);                           \
    } while (0)

int main(void)
{
    volatile int zero = 0, result = 0;
    char *volatile null = NULL;
    catch (SIGSEGV);
    catch (SIGFPE);
    catch (SIGILL);
    catch (SIGTRAP);
    catch (SIGBUS);
    catch (SIGABRT);
    FAULT(result = *null);
    NUMBER(address);
    FAULT(null[4097] = 1);
    NUMBER(address);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FAULT(page[5] = 1);
    IS(address == (uintptr_t)(page + 5));
    FAULT(((void (*)(void))page)());
    IS(address == (uintptr_t)page);
    FAULT(result = 7 / zero);
    FAULT(__asm__ volatile("ud2"));
    FAULT(__asm__ volatile("int3"));
    FAULT(__asm__ volatile("hlt"));
    FAULT(abort());
    FAULT(raise(SIGSEGV));
    signal(SIGUSR1, note);
    CALL(raise(SIGUSR1));
    NUMBER(seen);
    CALL(kill(getpid(), SIGUSR1));
    CALL(signal(SIGKILL, note) == SIG_ERR);
    NUMBER(errno == EINVAL);
    CALL(kill(getpid(), 0));
    CALL(kill(getpid(), 65));
    FAULT(result = *(volatile int *)0x123456789000);
    return result;
}
