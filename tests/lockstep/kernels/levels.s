# Privilege levels: down by returns, up by interrupts and call gates; what a program may not do.

area 4
    tolevel CODE3, DATA3, user_stack
    mov $0x11, %eax
    fault 13, 0, "cli"
    fault 13, 0, "hlt"
    fault 13, 0, "mov %cr0, %eax"
    fault 13, 0, "mov %eax, %cr3"
    fault 13, 0, "lgdt gdt_register"
    fault 13, 0, "ltr %ax"
    fault 13, 0, "clts"
    fault 13, 0, "rdmsr"
    fault 3, 0, "int3"
    fault 13, 0x33*8+2, "int $0x33"
    fault 13, DATA0, "movl $DATA0, %eax; mov %eax, %ds"
    fault 13, CODE0, "ljmp $CODE0, $fail"
    fault 13, GATE0, "lcall $GATE0, $0"
    fault 0x31, 0, "int $0x31"
    pushl $0x1234
    pushl $0x5678
    lcall $GATE3, $0            # takes both along
    eq %eax, $0x68ac
    lcall $GATE1, $0
    eq %eax, $0x1001
    lcall $CONFORM|3, $conforming
    pushf                       # IF and IOPL stay
    pop %eax
    or $0x3200, %eax
    push %eax
    popf
    pushf
    pop %eax
    test $0x3200, %eax
    jnz fail
    pushl $CODE3
    pushl $1f
    lret
1:  back

    mov %esp, own_stack         # with the right to ports
    tolevel CODE3, DATA3, user_stack, 0x3002
    mov $0x80, %eax
    out %al, $0x80
    cli
    sti
    cli
    pushf
    pop %eax
    test $0x200, %eax
    jnz fail
    fault 13, 0, "hlt"
    back

    tolevel CODE3, DATA3, user_stack
    movb $0x10, tss1+0x68+0x10  # port 0x84 not
    in $0x80, %al
    fault 13, 0, "in $0x84, %al"
    movb $0, tss1+0x68+0x10
    back

    tolevel CODE1, DATA1, level_1_stack
    fault 13, 0, "hlt"
    fault 13, 0x18, "lcall $CODE3, $fail"
    pushl $DATA3
    pushl $user_stack
    pushl $CODE3
    pushl $1f
    lret
1:  mov $DATA3, %eax
    mov %eax, %ds
    back
    tolevel CODE2, DATA2, level_2_stack
    mov $DATA2, %eax
    mov %eax, %es
    fault 13, 0, "mov %cr3, %eax"
    back
endarea 4
    jmp levels_end

call_gate:                      # level 0: two parameters above the return
    mov 8(%esp), %eax
    add 12(%esp), %eax
    mov %cs, %ecx
    cmp $OFFCODE, %cx
    jne 9f
    push %ds
    mov $DATA0, %ecx
    mov %ecx, %ds
    pop %ds
    lret $8
9:  ljmp $CODE0, $fail
level_1_gate:
    mov %cs, %eax
    and $3, %eax
    cmp $1, %eax
    jne 9b
    mov $0x1001, %eax
    lret
conforming:
    mov %cs, %ecx
    and $3, %ecx
    cmp $3, %ecx
    jne 9b
    lret
    .section .low, "ax"
    .code16
gate_16:
    mov $0x1616, %eax
    lretw
    .code32
    .text
levels_end:
