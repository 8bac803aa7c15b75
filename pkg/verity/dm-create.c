/*
 * Makes a read-only device of the kernel's device mapper, and prints its path.
 *
 *   dm-create NAME SECTORS TARGET PARAMETERS
 *
 * The device has one target over SECTORS of 512 bytes. This is what dmsetup does with `create --readonly`; it needs no library, so that the
 * initrd, which is signed and loaded at each start, grows by one program instead of by seven files.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#define CONTROL "/dev/mapper/control"

/* What the kernel gets in each call. */
struct call {
    struct dm_ioctl head;
    struct dm_target_spec target;
    char parameters[2048];
};

static struct call *new_call(const char *name)
{
    static struct call call;

    memset(&call, 0, sizeof(call));
    call.head.version[0] = DM_VERSION_MAJOR;
    call.head.data_size = sizeof(call);
    call.head.data_start = sizeof(call.head);
    strcpy(call.head.name, name);
    return &call;
}

static int fail(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    struct call *call;
    int control, error;

    if (argc != 5 || strlen(argv[1]) >= DM_NAME_LEN || strlen(argv[3]) >= DM_MAX_TYPE_NAME ||
        strlen(argv[4]) >= sizeof(call->parameters)) {
        puts("dm-create NAME SECTORS TARGET PARAMETERS");
        return 1;
    }
    control = open(CONTROL, O_RDWR | O_CLOEXEC);
    if (control < 0)
        return fail(CONTROL);
    call = new_call(argv[1]);
    if (ioctl(control, DM_DEV_CREATE, call) < 0)
        return fail("the kernel makes no device");

    call = new_call(argv[1]);
    call->head.flags = DM_READONLY_FLAG;
    call->head.target_count = 1;
    call->target.length = strtoull(argv[2], NULL, 10);
    strcpy(call->target.target_type, argv[3]);
    strcpy(call->parameters, argv[4]);
    if (ioctl(control, DM_TABLE_LOAD, call) == 0) {
        /* Without DM_SUSPEND_FLAG it resumes, and the table takes effect. */
        call = new_call(argv[1]);
        if (ioctl(control, DM_DEV_SUSPEND, call) == 0) {
            printf("/dev/dm-%u\n", minor(call->head.dev));
            return 0;
        }
    }
    error = errno;
    ioctl(control, DM_DEV_REMOVE, new_call(argv[1]));
    errno = error;
    return fail("the kernel does not take the table");
}
