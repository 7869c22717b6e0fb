/* The same for a program that wants no large pages. */
#define ADVICE MADV_NOHUGEPAGE
#include "faults.c"
