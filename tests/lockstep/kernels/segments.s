# Segments, far transfers at one level, and what refuses them.

area 0
    mov $WINDOW, %eax           # not flat
    mov %eax, %es
    movl $0x12345678, %es:0x10
    eq SCRATCH+0x10, $0x12345678
    movl $7, %es:0xffc
    mov $DOWN, %eax             # grows down
    mov %eax, %fs
    movl $9, %fs:0x1000
    eq SCRATCH+0x1000, $9
    mov $READONLY, %eax
    mov %eax, %gs
    eq %gs:0x10, $0x12345678
    xor %eax, %eax              # none at all
    mov %eax, %gs
    fault 11, ABSENT, "movl $ABSENT, %eax; mov %eax, %gs"
    fault 13, 0x3f8, "movl $0x3f8, %eax; mov %eax, %gs"
    fault 13, TSS1, "movl $TSS1, %eax; mov %eax, %gs"
    fault 12, ABSENT, "movl $ABSENT, %eax; mov %eax, %ss"
    fault 13, 0, "xor %eax, %eax; mov %eax, %ss"
    fault 13, READONLY, "movl $READONLY, %eax; mov %eax, %ss"
    fault 13, DATA3&~3, "movl $DATA3, %eax; mov %eax, %ss"

    mov $LDT, %eax              # the local table
    lldt %ax
    mov $0x4, %eax
    mov %eax, %es
    movl $0x55, %es:0x20
    eq SCRATCH + 0x20, $0x55
    mov $0xf, %eax
    mov %eax, %es
    movl $0x66, %es:0x20
    eq SCRATCH + 0x120, $0x66
    fault 13, 0x14, "movl $0x14, %eax; mov %eax, %es"
    lcall $0x1c, $far_return - entry
    sldt %eax
    eq %eax, $LDT
    fault 13, 0x24, "movl $0x24, %eax; mov %eax, %es"
    xor %eax, %eax
    lldt %ax
    fault 13, 0x4, "movl $0x4, %eax; mov %eax, %es"

    mov %esp, %ebx              # a stack that is not flat
    mov $WINDOW, %eax
    mov %eax, %ss
    mov $0x800, %esp
    push $0x1234
    mov $0x900, %ebp
    movl $3, (%ebp)
    pop %ecx
    mov $DATA0, %eax
    mov %eax, %ss
    mov %ebx, %esp
    eq %ecx, $0x1234
    mov $DATA0, %eax
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    lss pointer, %esp
    mov %ebx, %esp
    les pointer, %eax
    eq %eax, $SCRATCH
    mov $DATA0, %eax
    mov %eax, %es

    lar %eax, %eax              # what is said of descriptors
    mov $CODE3, %ecx
    lar %ecx, %eax
    jnz fail
    and $0xf0ff00, %eax
    eq %eax, $0xc0fa00
    lsl %ecx, %eax
    jnz fail
    eq %eax, $0xffffffff
    mov $ABSENT, %ecx
    lar %ecx, %eax
    jnz fail
    mov $0x3f8, %ecx
    lar %ecx, %eax
    jz fail
    mov $TSS1, %ecx
    lsl %ecx, %eax
    jnz fail
    eq %eax, $0x8b
    mov $GATE3, %ecx
    lsl %ecx, %eax
    jz fail
    mov $READONLY, %ecx
    verr %cx
    jnz fail
    verw %cx
    jz fail
    mov $0x21, %eax
    mov $0x3, %ecx
    arpl %cx, %ax
    jnz fail
    eq %eax, $0x23
    arpl %cx, %ax
    jz fail
    sgdt SCRATCH
    sidt SCRATCH + 8
    eq SCRATCH + 2, $gdt
    eq SCRATCH + 10, $idt
    str %eax
    eq %eax, $TSS1
    smsw %eax
    mov %cr0, %ecx
    eq %eax, %ecx
    xor $8, %al                 # TS
    lmsw %ax
    mov %cr0, %eax
    test $8, %al
    jz fail
    fault 7, 0, "fnop"
    clts
endarea 0

area 1
    lcall $OFFCODE, $far_return - entry
    ljmp $OFFCODE, $1f - entry
1:  ljmp $CODE0, $1f
1:  lcall $CONFORM, $far_return
    lcall *far_pointer
    ljmp *far_target
after_far:
    lcall $GATE0, $0
    fault 13, CODE3&~3, "ljmp $CODE3, $1b"
    fault 13, DATA0, "ljmp $DATA0, $1b"
    fault 13, 0, "ljmp $0, $1b"
    andb $0x7f, gdt + OFFCODE + 5
    fault 11, OFFCODE, "ljmp $OFFCODE, $0"
    fault 11, OFFCODE, "lcall $GATE0, $0"
    orb $0x80, gdt + OFFCODE + 5
    pushl $CODE0
    pushl $1f
    lret
1:  pushl $0
    pushl $OFFCODE
    pushl $1f - entry
    lret $4
1:  pushf
    pushl $CODE0
    pushl $1f
    iret
1:  ljmp $CODE0, $1f
1:
endarea 1

area 2
    xor %edx, %edx              # exceptions
    mov $1, %eax
    xor %ecx, %ecx
    fault 0, 0, "div %ecx"
    mov $1, %edx
    fault 0, 0, "div %edx"
    mov $0x80000000, %eax
    cltd
    mov $-1, %ecx
    fault 0, 0, "idiv %ecx"
    fault 0, 0, "aam $0"
    fault 3, 0, "int3"
    mov $0x7fffffff, %eax
    inc %eax
    fault 4, 0, "into"
    xor %eax, %eax
    into
    mov $5, %eax
    bound %eax, bounds
    mov $11, %eax
    fault 5, 0, "bound %eax, bounds"
    fault 6, 0, "ud2"
    fault 6, 0, ".byte 0x0f, 0xff, 0xc0"
    fault 6, 0, ".byte 0xf0, 0x90"
    fault 6, 0, ".byte 0x8e, 0xc8"
    fault 13, 0x34*8+2, "int $0x34"
    fault 0x33, 0, "int $0x33"
    fault 0x31, 0, "int $0x31"
    mov $0x10000000, %eax       # reserved bits
    fault 13, 0, "mov %eax, %cr4"
    mov $0x80000000, %eax
    fault 13, 0, "mov %eax, %cr0"
    mov $0x12345, %ecx
    fault 13, 0, "rdmsr"
    movl $SCRATCH + 1, %ebx     # alignment: not at this level
    mov (%ebx), %eax
endarea 2

area 3                          # limits and rights at each access
    mov $WINDOW, %eax
    mov %eax, %es
    movl $7, %es:0xffc
    fault 13, 0, "movl $1, %es:0xffd"
    fault 13, 0, "mov %es:0x1000, %eax"
    mov $DOWN, %eax
    mov %eax, %fs
    fault 13, 0, "movl $9, %fs:0xffc"
    mov $READONLY, %eax
    mov %eax, %gs
    fault 13, 0, "movl $0, %gs:0x10"
    fault 13, 0, "movl $0, %cs:SCRATCH"
    xor %eax, %eax
    mov %eax, %gs
    fault 13, 0, "mov %gs:0, %eax"
    fault 13, 0, "ljmp $OFFCODE, $0x10000"
    mov %esp, %ebx
    mov $WINDOW, %eax
    mov %eax, %ss
    mov $0x800, %esp
    mov $0x900, %ebp
    fault 12, 0, "movl $3, 0x800(%ebp)"
    mov $DATA0, %eax
    mov %eax, %ss
    mov %ebx, %esp
    mov %eax, %es
endarea 3
    jmp segments_end

far_return:
    lret
same_gate:
    lret
    .balign 4
pointer:        .long SCRATCH
                .word DATA0
far_pointer:    .long far_return
                .word CODE0
far_target:     .long after_far
                .word CODE0
bounds:         .long -3, 10
segments_end:
