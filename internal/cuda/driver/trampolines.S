//go:build gpu

// The functions of the driver, each a jump to where the table says.

.text
.set slot, 0

#if defined(__x86_64__)
.macro trampoline name
.globl \name
.type \name, %function
\name:
	jmp *surrogaze_driver_table + 8 * slot(%rip)
.size \name, . - \name
.set slot, slot + 1
.endm
#elif defined(__aarch64__)
.macro trampoline name
.globl \name
.type \name, %function
\name:
	adrp x16, surrogaze_driver_table + 8 * slot
	ldr x16, [x16, :lo12:surrogaze_driver_table + 8 * slot]
	br x16
.size \name, . - \name
.set slot, slot + 1
.endm
#else
#error "the GPU backend is for x86-64 and arm64"
#endif

#define SYMBOL(name) trampoline name ;
#include "symbols.h"

.section .note.GNU-stack, "", %progbits
