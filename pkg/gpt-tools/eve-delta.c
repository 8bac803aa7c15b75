/*
 * eve-delta OLD DELTA: prints the image that DELTA makes of the image at the beginning of OLD, a file or a partition.
 *
 * A delta of `cargo xtask delta` is a zstd frame (RFC 8878) of three kinds of blocks: raw bytes, one byte repeated, and one copy from the
 * old image, which is the frame's prefix. A copy is a compressed block without literals and with one sequence, whose codes are in RLE
 * mode, so no entropy coding is read here. A skippable frame at the end names digests and sizes of both images. The digests are the
 * caller's: this program reads only what lies within OLD's image, and writes only as many bytes as the delta names.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    /* The largest block, in bytes. */
    MOST = 128 << 10,
    /* The text at the end: a name, and two lines of a word, a digest and a size. */
    NAME = 12,
    LINE = 4 + 1 + 64 + 1 + 20 + 1,
    TRAILER = NAME + 2 * LINE,
    /* The bytes of a copy before its bits, and the most bytes with bits: an offset has 31, a length 16, and a 1 marks the end. */
    COPY = 6,
    BITS = 6,
};

/* The codes of match lengths that a delta may have, from FIRST_CODE on: their bases and extra bits. */
enum { FIRST_CODE = 41, LAST_CODE = 52 };
static const struct {
    uint32_t base;
    unsigned bits;
} LENGTHS[] = {
    {83, 4},   {99, 5},    {131, 7},   {259, 8},    {515, 9},    {1027, 10},
    {2051, 11}, {4099, 12}, {8195, 13}, {16387, 14}, {32771, 15}, {65539, 16},
};

static const char *delta_name;
static unsigned char buffer[MOST];

static _Noreturn void fail(const char *format, ...)
{
    va_list words;
    fprintf(stderr, "%s ", delta_name);
    va_start(words, format);
    vfprintf(stderr, format, words);
    va_end(words);
    fputc('\n', stderr);
    exit(1);
}

static void read_exactly(FILE *in, void *to, size_t count)
{
    if (fread(to, 1, count, in) != count)
        fail(ferror(in) ? "cannot be read" : "is cut off");
}

static uint64_t little_endian(const unsigned char *bytes, size_t count)
{
    uint64_t value = 0;
    while (count-- > 0)
        value = value << 8 | bytes[count];
    return value;
}

/* The size in a line of the trailer, which has 20 decimal digits. */
static uint64_t size_in(const char *line)
{
    uint64_t size = 0;
    for (const char *digit = line + LINE - 21; digit < line + LINE - 1; digit++) {
        if (*digit < '0' || *digit > '9' || size > (UINT64_MAX - 9) / 10)
            fail("is no delta: a size at its end is no number");
        size = size * 10 + (uint64_t)(*digit - '0');
    }
    return size;
}

/* Reads the sizes of both images, and returns to the beginning. */
static void read_trailer(FILE *in, uint64_t *old_size, uint64_t *new_size)
{
    char text[TRAILER];
    if (fseek(in, -(long)TRAILER, SEEK_END) != 0 || fread(text, 1, TRAILER, in) != TRAILER || memcmp(text, "eve-delta 1\nfrom ", 17) != 0)
        fail("is no delta: it does not end with the digests of two images");
    *old_size = size_in(text + NAME);
    *new_size = size_in(text + NAME + LINE);
    rewind(in);
}

/* Reads a copy whose block has `size` bytes: how many bytes before the current one it begins, and its length. `recent` has the offsets of
   the last three copies, the last one first. */
static uint64_t read_copy(FILE *in, size_t size, uint64_t recent[3], size_t *length)
{
    static const unsigned char START[] = {0, 1, 0x54, 0};
    unsigned char block[COPY + BITS];
    if (size <= COPY || size > sizeof block)
        fail("was written by another program");
    read_exactly(in, block, size);
    unsigned offset_code = block[4], code = block[5];
    if (memcmp(block, START, sizeof START) != 0 || offset_code >= 32 || code < FIRST_CODE || code > LAST_CODE)
        fail("was written by another program");
    unsigned width = LENGTHS[code - FIRST_CODE].bits;
    uint64_t bits = little_endian(block + COPY, size - COPY);
    if (bits >> (offset_code + width) != 1)
        fail("is damaged: the bits of a copy are wrong");
    *length = LENGTHS[code - FIRST_CODE].base + (size_t)(bits & ((UINT64_C(1) << width) - 1));
    if (*length > MOST)
        fail("is damaged: a copy has %zu bytes", *length);
    uint64_t value = bits >> width;
    /* 1 repeats the second last offset, since no literals are before the copy. */
    uint64_t offset = value == 1 ? recent[1] : value - 3;
    if (value == 0 || value == 2 || value == 3)
        fail("was written by another program");
    if (value != 1)
        recent[2] = recent[1];
    recent[1] = recent[0];
    recent[0] = offset;
    return offset;
}

/* Reads `length` bytes of the old image into the buffer. */
static void read_old(int old, uint64_t from, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t count = pread(old, buffer + done, length - done, (off_t)(from + done));
        if (count <= 0)
            fail("cannot be applied: %s", count < 0 ? strerror(errno) : "the old image is cut off");
        done += (size_t)count;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: eve-delta OLD DELTA\n");
        return 2;
    }
    delta_name = argv[2];
    int old = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (old < 0)
        fail("cannot be applied: cannot open %s: %s", argv[1], strerror(errno));
    FILE *in = fopen(argv[2], "re");
    if (in == NULL)
        fail("cannot be opened: %s", strerror(errno));
    uint64_t old_size, new_size, at = 0;
    read_trailer(in, &old_size, &new_size);

    unsigned char header[13];
    read_exactly(in, header, sizeof header);
    if (little_endian(header, 4) != 0xfd2fb528 || header[4] != 0xe0)
        fail("was written by another program");
    if (little_endian(header + 5, 8) != new_size)
        fail("is damaged: its frame and its end name different sizes");

    uint64_t recent[3] = {1, 4, 8};
    for (int is_last = 0; !is_last;) {
        read_exactly(in, header, 3);
        uint64_t block = little_endian(header, 3);
        size_t length = (size_t)(block >> 3);
        is_last = block & 1;
        if (length > MOST)
            fail("is damaged: a block has %zu bytes", length);
        switch (block >> 1 & 3) {
        case 0:
            read_exactly(in, buffer, length);
            break;
        case 1:
            read_exactly(in, header, 1);
            memset(buffer, header[0], length);
            break;
        case 2: {
            /* The prefix ends where the new image begins. */
            uint64_t offset = read_copy(in, length, recent, &length);
            if (offset < at || offset - at > old_size || length > offset - at)
                fail("is damaged: a copy is not from the old image");
            read_old(old, old_size - (offset - at), length);
            break;
        }
        default:
            fail("is damaged: a block is of no kind");
        }
        if (length > new_size - at)
            fail("is damaged: it makes more bytes than it names");
        at += length;
        if (fwrite(buffer, 1, length, stdout) != length)
            fail("cannot be applied: the image cannot be written: %s", strerror(errno));
    }
    if (at != new_size)
        fail("is damaged: it makes fewer bytes than it names");
    if (fflush(stdout) != 0)
        fail("cannot be applied: the image cannot be written: %s", strerror(errno));
    return 0;
}
