/*
 * Says when tasks wait for memory, and who has it.
 *
 *   memory-monitor           waits for pressure, and prints a report each time, at most one in 30 s
 *   memory-monitor --report  prints one report now
 *
 * The kernel wakes a process that polls /proc/pressure/memory for POLLPRI (Documentation/accounting/psi.rst), which no
 * shell can do: a script would have to look every second, and would look too late when memory is short. Everything that
 * a report needs is allocated before the first one.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PRESSURE "/proc/pressure/memory"
/* Tasks wait for 300 ms within two seconds, in microseconds. */
#define TRIGGER "some 300000 2000000"
#define PAUSE_SECONDS 30
#define LARGEST 5

struct process {
    long pid;
    long kib;
    char name[64];
};

/* Reads a small file of /proc into buffer, as text. Returns 0, or -1 when it is gone or unreadable. */
static int read_text(const char *path, char *buffer, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    ssize_t got = read(file, buffer, size - 1);
    close(file);
    if (got < 0)
        return -1;
    buffer[got] = '\0';
    return 0;
}

/* The number behind key in text such as /proc/meminfo; -1 when it is not there. */
static long number_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

/* Name and resident memory of a process. Returns -1 for a kernel thread, and for a process that has ended. */
static int look_at(long pid, struct process *process)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    if (read_text(path, text, sizeof text) < 0)
        return -1;
    process->pid = pid;
    process->kib = number_of(text, "\nVmRSS:");
    if (process->kib < 0 || sscanf(text, "Name:\t%63[^\n]", process->name) != 1)
        return -1;
    return 0;
}

/* Keeps the largest processes, the largest first. */
static void keep(struct process *largest, const struct process *process)
{
    for (int at = 0; at < LARGEST; at++) {
        if (process->kib > largest[at].kib) {
            memmove(&largest[at + 1], &largest[at], (size_t)(LARGEST - 1 - at) * sizeof *largest);
            largest[at] = *process;
            return;
        }
    }
}

static int report(void)
{
    char text[8192];
    if (read_text("/proc/meminfo", text, sizeof text) < 0) {
        fprintf(stderr, "memory-monitor: cannot read /proc/meminfo: %s\n", strerror(errno));
        return -1;
    }
    printf("memory: %ld of %ld KiB available", number_of(text, "MemAvailable:"), number_of(text, "MemTotal:"));
    if (read_text(PRESSURE, text, sizeof text) == 0)
        printf(", some %.*s", (int)strcspn(text + 5, " \n"), text + 5);
    DIR *proc = opendir("/proc");
    if (!proc) {
        printf("\n");
        fprintf(stderr, "memory-monitor: cannot list /proc: %s\n", strerror(errno));
        return -1;
    }
    struct process largest[LARGEST] = { 0 }, process;
    for (struct dirent *entry = readdir(proc); entry; entry = readdir(proc)) {
        if (isdigit((unsigned char)entry->d_name[0]) && look_at(strtol(entry->d_name, NULL, 10), &process) == 0)
            keep(largest, &process);
    }
    closedir(proc);
    for (int at = 0; at < LARGEST && largest[at].kib > 0; at++)
        printf("%s%s (%ld) %ld KiB", at ? ", " : "; largest: ", largest[at].name, largest[at].pid, largest[at].kib);
    printf("\n");
    return fflush(stdout);
}

static void stop(int number)
{
    (void)number;
    _exit(0);
}

/* Reports each time that the kernel wakes us. Returns only when that does not work. */
static int watch(int pressure)
{
    struct pollfd event = { .fd = pressure, .events = POLLPRI };
    for (;;) {
        if (poll(&event, 1, -1) < 0) {
            if (errno == EINTR)
                continue;
            fprintf(stderr, "memory-monitor: cannot wait for memory pressure: %s\n", strerror(errno));
            return 1;
        }
        if (event.revents & POLLERR) {
            fprintf(stderr, "memory-monitor: the kernel watches memory pressure no longer\n");
            return 1;
        }
        report();
        sleep(PAUSE_SECONDS);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--report") == 0)
        return report() == 0 ? 0 : 1;
    if (argc != 1) {
        fprintf(stderr, "usage: memory-monitor [--report]\n");
        return 2;
    }
    /* The first process of a container gets no default actions. */
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    /* No page of this program is read from the disk again when memory is short. */
    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        fprintf(stderr, "memory-monitor: its pages are not locked: %s\n", strerror(errno));
    int pressure = open(PRESSURE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (pressure < 0 || write(pressure, TRIGGER, sizeof TRIGGER) < 0) {
        printf("memory-monitor: this kernel does not watch memory pressure: %s\n", strerror(errno));
        fflush(stdout);
        for (;;)
            pause();
    }
    report();
    return watch(pressure);
}
