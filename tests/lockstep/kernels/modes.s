# Debug registers, 16-bit code, real mode and back.

area 14
    mov $SCRATCH, %eax
    mov %eax, %dr0
    inc %eax
    mov %eax, %dr1
    inc %eax
    mov %eax, %dr2
    inc %eax
    mov %eax, %dr3
    mov %dr3, %ebx
    eq %ebx, %eax
    mov %dr6, %eax
    mov %dr7, %eax
    xor %eax, %eax
    mov %eax, %dr6
    mov %dr6, %eax
    eq %eax, $0xffff0ff0
    mov $0x400, %eax
    mov %eax, %dr7
    mov %dr5, %eax              # the same as dr7
    mov %cr4, %ebx
    or $8, %ebx                 # DE
    mov %ebx, %cr4
    fault 6, 0, "mov %dr4, %eax"
    and $~8, %ebx
    mov %ebx, %cr4
endarea 14

area 15
    mov %esp, %ebx
    ljmp $CODE16, $flat_16-low_start
back_from_16:
    eq LOW+word_16-low_start, $0x2345
    ljmp $OFFCODE, $1f-entry
1:  lcall $GATE16, $0
    ljmp $CODE0, $1f
1:  cmp $0x1616, %ax
    jne fail
endarea 15

area 16
    mov %esp, own_stack
    movw $real_int-low_start, 0x84
    movw $LOWSEG, 0x86
    ljmp $CODE16, $to_real-low_start
back_from_real:
    mov $DATA0, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov own_stack, %esp
    lidt idt_register
    eq LOW+word_16-low_start, $0x77
    movb $0x89, gdt+TSS1+5
    mov $TSS1, %eax
    ltr %ax
endarea 16

area 18
    mov $SCRATCH, %eax          # a word that is watched
    mov %eax, %dr0
    mov $0x000d0401, %eax
    mov %eax, %dr7
    fault 1, 0, "movl $1, SCRATCH"
    mov %dr6, %eax
    test $1, %al
    jz fail
    xor %eax, %eax
    mov %eax, %dr6
    mov $1f, %eax               # an instruction
    mov %eax, %dr0
    mov $0x401, %eax
    mov %eax, %dr7
    movl $2f, resume
1:  nop
    jmp fail
2:  eq seen, $1
    mov $0x400, %eax
    mov %eax, %dr7
    pushf                       # single steps
    orl $0x100, (%esp)
    movl $3f, resume
    popf
    nop
    jmp fail
3:  mov %dr6, %eax
    test $0x4000, %eax
    jz fail
    movl $0, resume
endarea 18
    jmp modes_end

    .section .low, "ax"
    .code16
flat_16:
    mov $DATA16, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x8000, %esp
    push $0x1234
    call 1f
    jmp 2f
1:  ret
2:  pop %cx
    addw $0x1111, %cx
    movzwl %cx, %ecx
    movl %ecx, word_16-low_start
    pushl $0x12345678
    popl %edx
    pusha
    popa
    mov $0x10, %si
    lodsw
    lea 5(%bx,%si), %di
    mov $DATA0, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov %ebx, %esp
    ljmpl $CODE0, $back_from_16

to_real:
    mov $DATA16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    lidtl real_table-low_start
    mov %cr0, %eax
    and $~1, %al
    mov %eax, %cr0
    ljmp $LOWSEG, $1f-low_start
1:  mov $LOWSEG, %ax
    mov %ax, %ds
    mov %ax, %es
    mov $0x5000, %ax
    mov %ax, %ss
    mov $0x1000, %sp
    movl $0, word_16-low_start
    int $0x21
    pushf
    pop %ax
    sti
    cli
    lcall $LOWSEG, $real_far-low_start
    mov $0x100, %di
    mov $8, %cx
    rep stosw
    mov $0xfff0, %si            # around the end of the segment
    lodsb
    xor %bx, %bx
    mov %bx, %fs
    mov %fs:0x84, %ax
    cmp $real_int-low_start, %ax
    jne real_fail
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $CODE0, $back_from_real
real_fail:
    mov $0x90, %al
    out %al, $0xf4
    hlt
real_far:
    lret
real_int:
    movb $0x77, %cs:word_16-low_start
    iret
    .balign 4
real_table:     .word 0x3ff
                .long 0
word_16:        .long 0
    .code32
    .text
modes_end:
