# Paging: 4 KiB and 4 MiB pages, then PAE with no-execute; rights, marks, error codes.

    .equ PAGED, 0x40000000      # linear pages of their own

    .macro paging_on
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    jmp .Lon\@
.Lon\@:
    .endm
    .macro paging_off
    mov %cr0, %eax
    and $0x7ffeffff, %eax       # WP too
    mov %eax, %cr0
    .endm
    .macro write_protect
    mov %cr0, %eax
    or $0x10000, %eax
    mov %eax, %cr0
    .endm
    .macro set_cr4 clear, set
    mov %cr4, %eax
    and $~\clear, %eax
    or $\set, %eax
    mov %eax, %cr4
    .endm

area 7
    call tables_32
    set_cr4 0, 0x10             # PSE
    mov $TABLES, %eax
    mov %eax, %cr3
    paging_on
    movl $0x11223344, SCRATCH
    eq PAGED, $0x11223344
    eq TABLES+0x1000, $SCRATCH+0x21     # accessed
    eq TABLES+0x400, $TABLES+0x1000+0x27
    movl $5, PAGED              # without WP the kernel may
    eq TABLES+0x1000, $SCRATCH+0x61     # dirty
    fault 14, 0, "mov PAGED+0x5000, %eax"
    eq seen_address, $PAGED+0x5000
    fault 14, 2, "mov %eax, PAGED+0x5004"
    eq seen_address, $PAGED+0x5004
    fault 14, 2, "incl PAGED+0x5004"
    write_protect
    fault 14, 3, "movl $6, PAGED"
    fault 14, 3, "incl PAGED+4"
    mov PAGED+0x403000, %eax    # a fault may mark the directory, or not
    fault 14, 3, "movl $6, PAGED+0x403000"      # by the directory
    movl $7, PAGED+0x3000
    eq SCRATCH+0x3000, $7
    movl $0x12345678, PAGED+0x3ffe              # into the next page
    eq SCRATCH+0x3ffe, $0x12345678
    movl $-1, PAGED+0x4ffc
    fault 14, 2, "movl $0, PAGED+0x4ffe"
    eq seen_address, $PAGED+0x5000
    eq SCRATCH+0x4ffc, $-1
    fault 14, 0, "push $1f; jmp *paged_code; 1:"
    eq seen_address, $PAGED+0x5000
    pop %eax
    movl $SCRATCH+0x5003, TABLES+0x1014
    invlpg PAGED+0x5000
    movb $0xc3, PAGED+0x5000
    call *paged_code
    movl $0, TABLES+0x1014
    invlpg PAGED+0x5000
    fault 14, 0, "mov PAGED+0x5000, %eax"
    fault 14, 0, "push PAGED+0x5000"
    mov $PAGED+0x4ff8, %edi     # a string that meets the end
    mov $5, %ecx
    mov $0x77, %eax
    fault 14, 2, "rep stosl"
    eq %ecx, $3
    eq %edi, $PAGED+0x5000
    tolevel CODE3, DATA3, user_stack
    mov PAGED+0x2000, %eax
    fault 14, 5, "mov PAGED, %eax"
    fault 14, 7, "movl $1, PAGED"
    fault 14, 7, "movl $1, PAGED+0x2000"
    fault 14, 4, "mov PAGED+0x5000, %eax"
    fault 14, 6, "movl $1, PAGED+0x5000"
    fault 14, 5, "mov PAGED+0x402000, %eax"
    movl $9, PAGED+0x3010
    back
    mov %cr4, %eax              # pages that stay
    or $0x80, %al
    mov %eax, %cr4
    orl $0x100, TABLES+0x100c
    mov %cr3, %eax
    mov %eax, %cr3
    mov PAGED+0x3010, %eax
    eq %eax, $9
    andl $~0x100, TABLES+0x100c
    set_cr4 0x80, 0
    paging_off
    set_cr4 0x10, 0
endarea 7

area 8
    call tables_pae
    set_cr4 0, 0x20
    mov $0xc0000080, %ecx
    rdmsr
    or $0x800, %eax
    wrmsr
    mov $TABLES+0x4000, %eax
    mov %eax, %cr3
    paging_on
    movl $0x55667788, SCRATCH
    eq PAGED, $0x55667788
    eq TABLES+0x7000, $SCRATCH+0x27
    eq TABLES+0x7004, $0x80000000
    write_protect
    movb $0xc3, PAGED+0x1000
    movb $0xc3, PAGED
    call *executable_code
    fault 14, 0x11, "call *forbidden_code"
    pop %eax
    fault 14, 3, "movl $1, PAGED+0x2000"
    fault 14, 2, "movl $1, PAGED+0x3000"
    fault 14, 9, "mov PAGED+0x4000, %eax"       # a reserved bit
    tolevel CODE3, DATA3, user_stack
    fault 14, 0x15, "call *forbidden_code"
    pop %eax
    fault 14, 7, "movl $1, PAGED+0x2000"
    call *executable_code
    back
    paging_off
    mov $0xc0000080, %ecx
    rdmsr
    and $~0x800, %eax
    wrmsr
    paging_on                   # now that bit is reserved, too
    fault 14, 9, "mov PAGED, %eax"
    mov PAGED+0x1000, %eax
    paging_off
    set_cr4 0x20, 0
endarea 8

area 17                         # there and back again, as a 32-bit Linux with PAE starts
    call tables_32
    call tables_pae
    movl $0, TABLES+0x7004
    mov $3, %ebp
1:  set_cr4 0x20, 0x10
    mov $TABLES, %eax
    mov %eax, %cr3
    paging_on
    mov PAGED, %ebx
    paging_off
    set_cr4 0x10, 0x20
    mov $TABLES+0x4000, %eax
    mov %eax, %cr3
    paging_on
    mov PAGED, %ecx
    eq %ecx, %ebx
    mov $TABLES+0x4020, %eax    # another table of four entries, not at a page's start
    mov %eax, %cr3
    mov PAGED, %ecx
    eq %ecx, %ebx
    movl $0, TABLES+0x4028      # one of them goes
    movl $0, TABLES+0x402c
    mov %eax, %cr3
    fault 14, 0, "mov PAGED, %ecx"
    movl $TABLES+0x6001, TABLES+0x4028
    mov $TABLES+0x4020, %eax
    mov %eax, %cr3
    mov PAGED, %ecx
    write_protect
    mov PAGED+0x1000, %ecx
    paging_off
    dec %ebp
    jnz 1b
    set_cr4 0x30, 0
endarea 17

area 19                         # the entries are loaded again
    call tables_32
    call tables_pae
    movl $0, TABLES+0x7004
    set_cr4 0, 0x20
    mov $TABLES+0x4000, %eax
    mov %eax, %cr3
    paging_on
    set_cr4 0, 0x80
    mov PAGED, %ecx
    set_cr4 0x80, 0
    mov PAGED+0x1000, %ecx
    paging_off
    paging_on
    paging_off
    set_cr4 0x20, 0
endarea 19
    jmp paging_end

clear_tables:
    mov $TABLES, %edi
    mov $0x2000, %ecx
    xor %eax, %eax
    rep stosl
    ret

tables_32:
    call clear_tables
    movl $0x000087, TABLES
    movl $0x400087, TABLES+4
    movl $0x800087, TABLES+8
    movl $0xc00083, TABLES+12
    movl $TABLES+0x1007, TABLES+0x400
    movl $TABLES+0x1001, TABLES+0x404
    movl $SCRATCH+1, TABLES+0x1000
    movl $SCRATCH+0x1003, TABLES+0x1004
    movl $SCRATCH+0x2005, TABLES+0x1008
    movl $SCRATCH+0x3007, TABLES+0x100c
    movl $SCRATCH+0x4003, TABLES+0x1010
    ret

tables_pae:
    mov $TABLES+0x4000, %edi
    call 1f
    mov $TABLES+0x4020, %edi
    call 1f
    mov $TABLES+0x5000, %edi
    mov $0x87, %eax
2:  mov %eax, (%edi)
    add $8, %edi
    add $0x200000, %eax
    cmp $0x1000087, %eax
    jne 2b
    movl $TABLES+0x7007, TABLES+0x6000
    movl $SCRATCH+7, TABLES+0x7000
    movl $0x80000000, TABLES+0x7004
    movl $SCRATCH+0x1007, TABLES+0x7008
    movl $SCRATCH+0x2005, TABLES+0x7010
    movl $SCRATCH+0x4007, TABLES+0x7020
    movl $0x100000, TABLES+0x7024       # bit 52
    ret
1:  movl $TABLES+0x5001, (%edi)
    movl $TABLES+0x6001, 8(%edi)
    ret
    .balign 4
paged_code:         .long PAGED+0x5000
forbidden_code:     .long PAGED
executable_code:    .long PAGED+0x1000
paging_end:
