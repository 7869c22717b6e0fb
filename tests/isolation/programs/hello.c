/* Says hello: what the mutated executables are made from. */
#include <unistd.h>

int main(void) { return write(1, "hello\n", 6) != 6; }
