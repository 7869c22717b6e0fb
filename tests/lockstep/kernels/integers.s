# Code that changes, strings, decimal digits, and integers.

area 9
    mov $3, %ecx
1:  incb changing+1             # the next instruction but one
    jmp changing
changing:
    mov $0x10, %al
    cmp changing+1, %al
    jne fail
    loop 1b
    movb $0x90, 1f              # the next one, which was to fail
    movb $0x90, 1f+1
    jmp 1f
1:  int3
    int3
    mov $SCRATCH+0x200, %edi    # code that is made: mov $n, %eax; ret
    movb $0xb8, (%edi)
    movb $0xc3, 5(%edi)
    mov $5, %ebx
2:  mov %ebx, 1(%edi)
    call *%edi
    eq %eax, %ebx
    dec %ebx
    jnz 2b
    mov $SCRATCH+0xffd, %edi    # on two pages
    movb $0xb8, (%edi)
    movb $0xc3, 5(%edi)
    movl $0x11111111, 1(%edi)
    call *%edi
    eq %eax, $0x11111111
    movb $0x22, 4(%edi)
    call *%edi
    eq %eax, $0x22111111
endarea 9

area 10
    mov $low_start, %esi
    mov $SCRATCH, %edi
    mov $37, %ecx
    rep movsb
    eq %ecx, $0
    mov $low_start, %esi
    mov $SCRATCH, %edi
    mov $37, %ecx
    repe cmpsb
    jne fail
    mov $SCRATCH, %edi
    xor %eax, %eax
    mov $16, %ecx
    rep stosl
    mov $16, %ecx
    mov $SCRATCH, %edi
    repe scasl
    jne fail
    movb $9, SCRATCH+20
    mov $64, %ecx
    mov $SCRATCH, %edi
    mov $9, %al
    repne scasb
    jne fail
    eq %ecx, $43
    std                         # downwards
    mov $SCRATCH+20, %esi
    mov $SCRATCH+24, %edi
    mov $3, %ecx
    rep movsw
    cld
    eq SCRATCH+24, $9
    mov $SCRATCH, %esi          # onto itself, a byte further
    mov $SCRATCH+1, %edi
    movb $0x5a, (%esi)
    mov $50, %ecx
    rep movsb
    eq SCRATCH+47, $0x5a5a5a5a
    mov $SCRATCH, %esi
    mov $3, %ecx
    rep lodsl
    eq %eax, $0x5a5a5a5a
    xor %ecx, %ecx              # not at all
    rep movsl
    mov $0x20003, %ecx          # by 16 bits: three times
    mov $0x70000100, %edi
    mov $0xb1, %al
    addr16 rep stosb
    eq %ecx, $0x20000
    eq %edi, $0x70000103
    mov $SCRATCH+0x80, %edi
    movsl
    stosb
    scasw
    cmpsb
    lodsb
    mov $0x80, %edx
    mov $SCRATCH, %esi
    mov $2, %ecx
    rep outsb
    mov $SCRATCH, %edi
    mov $2, %ecx
    rep insb
endarea 10

area 11
    mov $0x79, %eax
    add $0x35, %al
    daa
    cmp $0x14, %al
    jne fail
    mov $0x35, %eax
    sub $0x47, %al
    das
    cmp $0x88, %al
    jne fail
    mov $0x0309, %eax
    add $8, %al
    aaa
    cmp $0x0407, %ax
    jne fail
    mov $0x0203, %eax
    sub $9, %al
    aas
    cmp $0x0104, %ax
    jne fail
    mov $63, %eax
    aam
    cmp $0x0603, %ax
    jne fail
    aad
    cmp $63, %ax
    jne fail
    aam $7
    aad $16
    mov $0x12345678, %eax
    mov $0x9abcdef0, %edx
    mul %edx
    imul $-7, %eax, %ecx
    imul %ecx
    imul %ecx, %edx
    mov $100, %eax
    xor %edx, %edx
    mov $7, %ecx
    div %ecx
    mov $-100, %eax
    cltd
    idiv %ecx
    eq %edx, $-2
    mov $0x80000001, %eax
    rol $3, %eax
    rcr $1, %eax
    rcl $5, %eax
    ror $1, %eax
    sar $4, %eax
    shl $1, %eax
    shr $9, %eax
    mov $33, %cl
    shl %cl, %eax
    mov $0x1234, %edx
    shld $4, %eax, %edx
    shrd $12, %eax, %edx
    bsf %edx, %ecx
    bsr %edx, %ecx
    bt $3, %edx
    bts $5, %edx
    btr %ecx, %edx
    btc %ecx, SCRATCH
    lock xadd %eax, SCRATCH
    cmpxchg %edx, SCRATCH
    lock cmpxchg8b SCRATCH
    bswap %eax
    xchg %eax, SCRATCH+4
    lahf
    sahf
    sbb %ecx, %ecx
    adc $-1, %ecx
    neg %ecx
    not %ecx
    cmovc %ecx, %eax
    setg %al
    movsx %al, %ecx
    movzx %cx, %edx
    mov $handler, %ebx
    xlat
    mov %esp, %ebp
    enter $16, $2
    leave
    pusha
    popa
    pushaw
    popaw
    pushw $0x1234
    popw %ax
    push %fs
    pop %gs
    stc
    cmc
    .byte 0xd6                  # salc
    loope 1f
1:  jecxz 1f
1:  lea 7(%eax,%ecx,4), %edx
    mov $0x240000, %eax         # ID, AC in the flags
    pushf
    xor %eax, (%esp)
    popf
    pushf
    pop %eax
    test $0x200000, %eax
    jz fail
    andl $~0x40000, %eax
    push %eax
    popf
    xor %eax, %eax
    cpuid
    mov $1, %eax
    cpuid
    rdtsc
    mov $0x174, %ecx            # registers of a model
    mov $0x1111, %eax
    xor %edx, %edx
    wrmsr
    rdmsr
    eq %eax, $0x1111
    mov $0x277, %ecx
    rdmsr
    mov $0x10, %ecx
    rdmsr
    wbinvd
    mov $0xfee00030, %ebx       # a controller's version
    mov (%ebx), %eax
endarea 11
