/* Double precision: n bodies, and a series. */
#include "bench.h"
#include <math.h>

enum { BODIES = 16 };
static double place[BODIES][3], speed[BODIES][3];

static void step(double time)
{
    for (int a = 0; a < BODIES; a++) {
        for (int b = 0; b < BODIES; b++) {
            double apart[3], square = 0.01;
            for (int axis = 0; axis < 3; axis++) {
                apart[axis] = place[b][axis] - place[a][axis];
                square += apart[axis] * apart[axis];
            }
            double pull = time / (square * sqrt(square));
            for (int axis = 0; axis < 3; axis++)
                speed[a][axis] += apart[axis] * pull;
        }
    }
    for (int a = 0; a < BODIES; a++)
        for (int axis = 0; axis < 3; axis++)
            place[a][axis] += time * speed[a][axis];
}

int main(void)
{
    uint64_t state = 99;
    for (int a = 0; a < BODIES; a++)
        for (int axis = 0; axis < 3; axis++)
            place[a][axis] = (double)(next_random(&state) >> 44) / 1e5;
    uint64_t start = now_ns();
    for (int turn = 0; turn < 100000; turn++)
        step(1e-4);
    double sum = 0;
    for (int term = 1; term < 5000000; term++)
        sum += sin(term) / term;
    return report(start, 1, (uint64_t)(sum * 1e9 + place[0][0] * 1e3));
}
