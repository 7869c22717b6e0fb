/* A turn handed over by a condition variable and back, between two threads. */
#include "handover.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int is_theirs;

/* Waits for the turn, then gives it to the other. */
static void hand_over(int mine)
{
    while (is_theirs != mine)
        pthread_cond_wait(&changed, &mutex);
    is_theirs = !mine;
    pthread_cond_signal(&changed);
}

static void *answer(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&mutex);
    for (;;)
        hand_over(1);
    return NULL;
}

static void turn(void)
{
    pthread_mutex_lock(&mutex);
    hand_over(0);
    while (is_theirs)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

int main(int arguments, char **argument)
{
    (void)argument;
    start(arguments, answer);
    return measure(turn);
}
