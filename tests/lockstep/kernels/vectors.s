# x87, MMX, SSE: results, exceptions, denormal numbers.

    .macro clear_scratch        # where the last instruction was is a processor's own affair
    mov $SCRATCH, %edi
    mov $0x80, %ecx
    xor %eax, %eax
    rep stosl
    .endm

area 12
    fninit
    fld1
    fldpi
    fadd %st, %st(1)
    fmulp
    fldl2e
    fsqrt
    fxch
    fpatan
    fstpl SCRATCH
    fildl numbers
    fidivl numbers+4
    fistl SCRATCH+8
    frndint
    fbstp SCRATCH+16
    fbld SCRATCH+16
    fldt SCRATCH+16
    fcomip
    fstp %st
    fld1
    fldz
    fdivrp                      # by zero, masked
    fxam
    fnstsw %ax
    fnclex
    fstp %st
    fnstcw SCRATCH
    andw $~4, SCRATCH           # ZE
    fldcw SCRATCH
    fld1
    fldz
    fdivrp
    fault 16, 0, "fwait"
    fnclex
    fninit
    fldt tiny                   # denormal
    fld1
    fmulp
    fstpt SCRATCH
    fldl tiny
    fnstsw %ax
    fcos
    fstps SCRATCH
    fnstenv SCRATCH+32
    fldenv SCRATCH+32
    fnsave SCRATCH+64
    frstor SCRATCH+64
    clear_scratch
    fninit
    mov %cr0, %eax              # not available
    or $8, %eax
    mov %eax, %cr0
    fault 7, 0, "fld1"
    fault 7, 0, "paddb %mm0, %mm1"
    fault 7, 0, "addps %xmm0, %xmm1"
    and $~8, %eax
    or $4, %eax
    mov %eax, %cr0
    fault 7, 0, "fld1"
    fault 6, 0, "addps %xmm0, %xmm1"
    and $~4, %eax
    mov %eax, %cr0
endarea 12

area 13
    fninit
    movq numbers, %mm0
    movq numbers+8, %mm1
    paddsw %mm0, %mm1
    pmaddwd %mm0, %mm1
    packuswb %mm0, %mm1
    psllq $3, %mm1
    pcmpgtb %mm1, %mm0
    punpcklwd %mm1, %mm0
    movd %mm0, %eax
    movq %mm1, SCRATCH
    emms
    movups numbers, %xmm0
    movaps %xmm0, %xmm1
    cvtdq2ps %xmm0, %xmm2
    sqrtps %xmm2, %xmm3
    divps %xmm3, %xmm2
    addps %xmm2, %xmm3
    shufps $0x1b, %xmm2, %xmm3
    cvtps2pd %xmm3, %xmm4
    mulpd %xmm4, %xmm4
    cvttpd2dq %xmm4, %xmm5
    paddq %xmm1, %xmm5
    pmuludq %xmm5, %xmm1
    pshufd $0x4e, %xmm1, %xmm6
    pxor %xmm6, %xmm7
    movdqu %xmm7, SCRATCH+1
    ucomisd %xmm4, %xmm5
    maxps %xmm2, %xmm6
    cmpleps %xmm2, %xmm6
    movmskps %xmm6, %eax
    fault 13, 0, "movaps SCRATCH+1, %xmm0"
    stmxcsr SCRATCH
    movss denormal, %xmm0       # denormal operands and results
    mulss half, %xmm0
    stmxcsr SCRATCH+4
    movss smallest, %xmm1
    mulss half, %xmm1
    movd %xmm1, %eax
    eq %eax, $0x00400000
    orl $0x8040, SCRATCH        # zeros for them
    ldmxcsr SCRATCH
    movss smallest, %xmm1
    mulss half, %xmm1
    movd %xmm1, %eax
    eq %eax, $0
    movss denormal, %xmm2
    addss denormal, %xmm2
    movd %xmm2, %eax
    eq %eax, $0
    movl $0x7f80, SCRATCH       # towards zero
    ldmxcsr SCRATCH
    movss half, %xmm1
    addss denormal, %xmm1
    cvtss2si %xmm1, %eax
    movl $0x1f80, SCRATCH
    ldmxcsr SCRATCH
    fxsave SCRATCH
    fxrstor SCRATCH
    clear_scratch
endarea 13

area 20                         # what is said of empty registers and of denormal numbers
    fninit
    fstp %st
    fnstsw %ax
    and $0x41, %eax             # IE, SF
    eq %eax, $0x41
    fninit
    fldt tiny
    fld1
    fmulp
    fnstsw %ax
    test $2, %al                # DE
    jz fail
    fninit
    movss denormal, %xmm0
    mulss half, %xmm0
    stmxcsr SCRATCH
    testl $2, SCRATCH           # DE
    jz fail
    fault 13, 0, "ldmxcsr numbers+12"           # reserved bits
    movl $0x1d80, SCRATCH       # division by zero is told of
    ldmxcsr SCRATCH
    xorps %xmm3, %xmm3
    movss half, %xmm1
    fault 19, 0, "divss %xmm3, %xmm1"
    mov %cr4, %eax
    andl $~0x400, %eax          # where exceptions of SSE are none
    mov %eax, %cr4
    movss half, %xmm1
    fault 6, 0, "divss %xmm3, %xmm1"
    or $0x400, %eax
    mov %eax, %cr4
endarea 20
    jmp vectors_end

    .balign 16
numbers:        .long 1234567, -89, 0x7fff8001, 0x10000
denormal:       .long 0x00000123
smallest:       .long 0x00800000
half:           .long 0x3f000000
tiny:           .quad 0x1234
                .word 0
vectors_end:
