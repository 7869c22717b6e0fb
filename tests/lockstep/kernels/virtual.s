# Virtual-8086 mode: programs of real mode under a monitor, with and without the right to flags.

area 6
    mov %esp, own_stack
    movw $virtual_int-low_start, 0x84   # its own interrupt 0x21
    movw $LOWSEG, 0x86
    pushl $LOWSEG               # gs, fs, ds, es, ss, esp, flags, cs, eip
    pushl $LOWSEG
    pushl $LOWSEG
    pushl $LOWSEG
    pushl $0x5000
    pushl $0xff0
    pushl $0x20002
    pushl $LOWSEG
    pushl $virtual_start-low_start
    iret
virtual_back:
    eq %ecx, $5
    eq LOW+virtual_word-low_start, $0xabcd1234
    mov %esp, own_stack
    pushl $0
    pushl $0
    pushl $LOWSEG
    pushl $LOWSEG
    pushl $0x5000
    pushl $0xff0
    pushl $0x23002              # IOPL 3
    pushl $LOWSEG
    pushl $virtual_trusted-low_start
    iret
virtual_end:
endarea 6

    .section .low, "ax"
    .code16
virtual_start:
    mov $0x1234, %ax
    mov %ax, %ds:virtual_word-low_start
    mov %cs, %ax
    cmp $LOWSEG, %ax
    jne virtual_fail
    mov $0x4001, %ax            # segments are numbers again
    mov %ax, %es
    movw $0xabcd, %es:virtual_word-low_start-0x10+2
    mov $5, %cx
    xor %ax, %ax
1:  inc %ax
    loop 1b
    mov %ax, %cx
    push %cx
    call virtual_near
    pop %cx
    lcall $LOWSEG, $virtual_far-low_start
    .macro virtual_fault instruction
    mov $0, %bx
    mov %bx, %fs
    movl $.Lvirtual\@-low_start, %fs:0x600      # the handler finds it there
    \instruction
    jmp virtual_fail
.Lvirtual\@:
    .endm
    .macro virtual_exit to
    mov $0, %bx
    mov %bx, %fs
    movl $1, %fs:0x604
    movl $\to, %ebx
    hlt
    .endm
    virtual_fault "cli"
    virtual_fault "sti"
    virtual_fault "pushf"
    virtual_fault "popf"
    virtual_fault "iret"
    virtual_fault "int $0x21"
    virtual_fault "hlt"
    virtual_fault "mov %cr0, %eax"
    mov $0xffff, %ax            # beyond 1 MiB
    mov %ax, %es
    mov %es:0x10, %bl
    cmp $0xeb, %bl              # the image's first jump
    jne virtual_fail
    virtual_exit virtual_back
virtual_fail:
    virtual_exit fail
virtual_near:
    ret
virtual_far:
    lret
virtual_int:
    iret
virtual_trusted:
    pushf
    pop %ax
    sti
    cli
    pushl $0x7002
    popfl
    pushfl
    pop %eax
    movl $virtual_end, %ebx
    int $0x30
    .balign 4
virtual_word:   .long 0
    .code32
    .text
