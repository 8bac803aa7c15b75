#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>

int main(void)
{
    sigset_t ends;
    int number;

    /* The first process of a container gets no default actions. */
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    puts("@name@ runs");
    fflush(stdout);
    /* The work goes here. A service that ends is started again. */
    return sigwait(&ends, &number) == 0 ? 0 : 1;
}
