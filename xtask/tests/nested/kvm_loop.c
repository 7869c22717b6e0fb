/*
 * Shows that there is a real /dev/kvm: runs one virtual CPU in real mode through ten million
 * instructions and prints how many millions of them went by in a second.
 *
 *     cc -O2 -o /tmp/kvm_loop xtask/tests/nested/kvm_loop.c
 *     cargo xtask nested-kvm /tmp/kvm_loop
 *
 * Hundreds mean hardware, or its emulation; single digits mean that the kernel interprets.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { CODE = 0x1000, MEMORY = 0x10000, ROUNDS = 5000000, INSTRUCTIONS = 2 * ROUNDS };

/* Ends the program unless a call succeeded. */
static int check(int result, const char *what) {
    if (result >= 0) return result;
    perror(what);
    exit(1);
}

static void *map(int fd, size_t length, int flags) {
    void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);
    if (at != MAP_FAILED) return at;
    perror("mmap");
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Memory with the loop in it. */
static void add_memory(int vm) {
    unsigned char code[] = {
        0x66, 0xb9, 0, 0, 0, 0, /* mov ecx, ROUNDS */
        0x66, 0x49,             /* again: dec ecx */
        0x75, 0xfc,             /* jnz again */
        0xf4,                   /* hlt */
    };
    unsigned rounds = ROUNDS;
    memcpy(code + 2, &rounds, sizeof rounds);
    char *memory = map(-1, MEMORY, MAP_ANONYMOUS);
    memcpy(memory + CODE, code, sizeof code);
    struct kvm_userspace_memory_region region = {
        .memory_size = MEMORY,
        .userspace_addr = (unsigned long)memory,
    };
    check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static int add_cpu(int vm) {
    int cpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    struct kvm_sregs segments;
    check(ioctl(cpu, KVM_GET_SREGS, &segments), "KVM_GET_SREGS");
    segments.cs.base = 0;
    segments.cs.selector = 0;
    check(ioctl(cpu, KVM_SET_SREGS, &segments), "KVM_SET_SREGS");
    struct kvm_regs registers = {.rip = CODE, .rflags = 2};
    check(ioctl(cpu, KVM_SET_REGS, &registers), "KVM_SET_REGS");
    return cpu;
}

int main(void) {
    int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    int version = check(ioctl(kvm, KVM_GET_API_VERSION, 0), "KVM_GET_API_VERSION");
    if (version != 12) {
        fprintf(stderr, "the version of the interface is %d, not 12\n", version);
        return 1;
    }
    int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    add_memory(vm);
    int cpu = add_cpu(vm);
    int size = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run *run = map(cpu, (size_t)size, 0);

    double start = now();
    check(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
    double seconds = now() - start;

    struct kvm_regs registers;
    check(ioctl(cpu, KVM_GET_REGS, &registers), "KVM_GET_REGS");
    if (run->exit_reason != KVM_EXIT_HLT || registers.rcx != 0) {
        fprintf(stderr, "exit %u with rcx %llu\n", run->exit_reason, registers.rcx);
        return 1;
    }
    printf("%.0f million instructions per second\n", INSTRUCTIONS / seconds / 1e6);
    return 0;
}
