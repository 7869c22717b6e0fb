# A 32-bit kernel that goes through what a processor has beside long mode. Entered by PVH, in protected mode
# without paging. It ends by the debug port: 0 when all was as it should be, else the number of the area and 0x80.

    .include "kernels/macros.inc"
    .code32
    .section .note.xen, "a"
    .long 4, 4, 18
    .ascii "Xen\0"
    .long entry

    .section .low, "ax"
low_start:
    .text
    .globl entry
entry:
    jmp begin
    .balign 4
    .ascii "AREAS-->"
wanted:
    .long ~0                    # a bit each; the suite writes here

begin:
    cli
    cld
    mov $main_stack, %esp
    call set_up
    .include "kernels/segments.s"
    .include "kernels/levels.s"
    .include "kernels/tasks.s"
    .include "kernels/virtual.s"
    .include "kernels/paging.s"
    .include "kernels/integers.s"
    .include "kernels/vectors.s"
    .include "kernels/modes.s"
    movb $0, %al
    outb %al, $0xf4
    hlt

fail:
    mov $0xf4, %edx
    mov %cs:current, %al
    or $0x80, %al
    out %al, %dx
    hlt

# Copies 16-bit code to where that can reach it, and loads the tables.
set_up:
    mov $low_start, %esi
    mov $LOW, %edi
    mov $low_end, %ecx
    sub %esi, %ecx
    rep movsb
    lgdt gdt_register
    lidt idt_register
    ljmp $CODE0, $1f
1:  mov $DATA0, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov $TSS1, %eax
    ltr %ax
    mov %cr0, %eax
    or $0x22, %eax              # NE, MP
    and $~0xc, %eax             # no EM, no TS
    mov %eax, %cr0
    mov %cr4, %eax
    or $0x600, %eax             # OSFXSR, OSXMMEXCPT
    mov %eax, %cr4
    ret

# One entry a vector, 16 bytes each.
    .balign 16
stubs:
    .set vector, 0
    .rept 0x34
    .balign 16
    .if vector != 8 && (vector < 10 || vector > 14) && vector != 17
    pushl $0
    .endif
    pushl $vector
    jmp handler
    .set vector, vector + 1
    .endr
    .balign 16

handler:
    pusha
    push %ds
    mov $DATA0, %eax
    mov %eax, %ds
    testl $0x20000, 52(%esp)    # from virtual-8086 mode
    jz 2f
    mov 0x600, %eax
    mov %eax, resume
    cmpl $0, 0x604
    movl $0, 0x604
    jne to_level_0
2:  mov 36(%esp), %eax
    mov %eax, seen
    mov 40(%esp), %eax
    mov %eax, seen_error
    mov 44(%esp), %eax
    mov %eax, seen_pointer
    mov 52(%esp), %eax
    mov %eax, seen_flags
    mov %cr2, %eax
    mov %eax, seen_address
    mov resume, %eax
    test %eax, %eax
    jz fail
    mov %eax, 44(%esp)
    andl $~0x10100, 52(%esp)    # RF and TF
    pop %ds
    popa
    add $8, %esp
    iret

# Interrupt 0x30: on at level 0, where ebx says.
to_level_0:
    mov $DATA0, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov own_stack, %esp
    jmp *%ebx

    .balign 16
gdt:
    .quad 0
    segment 0, 0xfffff, 0xc09a
    segment 0, 0xfffff, 0xc092
    segment 0, 0xfffff, 0xc0fa
    segment 0, 0xfffff, 0xc0f2
    segment SCRATCH, 0xfff, 0x4092
    segment IMAGE, 0xffff, 0x409a
    segment (IMAGE + ldt - entry), 0x1f, 0x82
    segment (IMAGE + tss1 - entry), 0x8b, 0x89
    segment (IMAGE + tss2 - entry), 0x67, 0xe9
    .word call_gate - entry, OFFCODE, 0xec02, 0
    segment LOW, 0xffff, 0x9a
    segment LOW, 0xffff, 0x92
    segment 0, 0xfffff, 0xc012
    segment 0, 0xfffff, 0xc0ba
    segment 0, 0xfffff, 0xc0b2
    segment 0, 0xfffff, 0xc0da
    segment 0, 0xfffff, 0xc0d2
    segment SCRATCH, 0xfff, 0x4096
    segment 0, 0xfffff, 0xc09e
    .word 0, TSS2, 0xe500, 0
    .word same_gate - entry, OFFCODE, 0x8c00, 0
    .word level_1_gate - entry, 0x71, 0xec00, 0x10
    segment SCRATCH, 0xfff, 0x4090
    .word gate_16 - low_start, CODE16, 0x8400, 0
gdt_end:
    .balign 16
ldt:
    segment SCRATCH, 0xff, 0x4092
    segment (SCRATCH + 0x100), 0xff, 0x40f2
    .quad 0
    segment IMAGE, 0xffff, 0x409a
gdt_register:
    .word gdt_end - gdt - 1
    .long gdt
idt_register:
    .word 0x34 * 8 - 1
    .long idt
    .balign 4
current:        .long 0
resume:         .long 0
seen:           .long 0
seen_error:     .long 0
seen_pointer:   .long 0
seen_flags:     .long 0
seen_address:   .long 0
own_stack:      .long 0
    .balign 16
tss1:
    .long 0, level_0_stack, DATA0, level_1_stack, DATA1, level_2_stack, DATA2
    .fill 18, 4, 0
    .word 0, 0x68               # the map of ports
    .fill 0x8b - 0x68, 1, 0     # ports 0 to 0x117
    .byte 0xff
    .balign 16
tss2:
    .long 0, level_0_stack, DATA0, 0, 0, 0, 0
    .long 0, task_2, 2          # cr3, eip, eflags
    .long 11, 22, 33, 44        # eax, ecx, edx, ebx
    .long task_stack, 55, 66, 77
    .long DATA0, CODE0, DATA0, DATA0, DATA0, DATA0, 0
    .word 0, 0x68
    .balign 16
idt:
    .set vector, 0
    .rept 0x34
    .if vector == 3 || vector == 4      # level 3 may: int3, into
    .word stubs - entry + 16 * vector, CODE0, 0xee00, IMAGE >> 16
    .elseif vector == 0x30
    .word to_level_0 - entry, CODE0, 0xee00, IMAGE >> 16
    .elseif vector == 0x31              # a trap gate
    .word stubs - entry + 16 * vector, CODE0, 0xef00, IMAGE >> 16
    .elseif vector == 0x32              # a task gate
    .word 0, TSS2, 0xe500, 0
    .else
    .word stubs - entry + 16 * vector, CODE0, 0x8e00, IMAGE >> 16
    .endif
    .set vector, vector + 1
    .endr
                .fill 0x1000, 1, 0
main_stack:
                .fill 0x800, 1, 0
level_0_stack:
                .fill 0x400, 1, 0
level_1_stack:
                .fill 0x400, 1, 0
level_2_stack:
                .fill 0x400, 1, 0
user_stack:
                .fill 0x400, 1, 0
task_stack:

    .section .low, "ax"
low_end:
