# Tasks: by jumps, calls, gates and returns.

area 5
    movl $0, task_count
    ljmp $TSS2, $0
    eq task_count, $1
    eq tss2+0x28, $11+100       # eax as the task left it
    lcall $TSS2, $0             # nested; the task goes on behind its jump, and returns
    eq task_count, $2
    lcall $TASKGATE, $0
    eq task_count, $3
    int $0x32
    eq task_count, $4
    mov %cr0, %eax
    test $8, %al                # TS
    jz fail
    clts
    mov tss2+0x24, %eax         # flags, without NT
    test $0x4000, %eax
    jnz fail
    movb $0x69, gdt+TSS2+5      # absent, then busy
    fault 11, TSS2, "ljmp $TSS2, $0"
    movb $0xeb, gdt+TSS2+5
    fault 13, TSS2, "ljmp $TSS2, $0"
    movb $0xe9, gdt+TSS2+5
    movw $0x60, gdt+TSS2        # too short
    fault 10, TSS2, "ljmp $TSS2, $0"
    movw $0x67, gdt+TSS2
    fault 13, TSS1, "lcall $TSS1, $0"
endarea 5
    jmp tasks_end

task_2:
    add $100, %eax
    incl task_count
    ljmp $TSS1, $0
1:  incl task_count
    iret
    jmp 1b
    .balign 4
task_count:     .long 0
tasks_end:
