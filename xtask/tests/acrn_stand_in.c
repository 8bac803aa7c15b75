/*
 * A stand-in for ACRN in tests: GRUB starts it by multiboot2 with the modules that pkg/acrn/grub-hv.cfg names, and it starts the
 * kernel by Linux' 32-bit boot protocol. It is no hypervisor: Linux gets the machine.
 *
 *   cc -m32 -ffreestanding -nostdlib … acrn_stand_in.c -o acrn.bin        (xtask/tests/boots_hypervisors.rs has the whole line)
 */

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

/* The header that GRUB looks for, the entry, and the table of segments that Linux wants: code at 0x10, data at 0x18. */
__asm__(
    ".section .text.start, \"ax\"\n"
    ".align 8\n"
    "header: .long 0xe85250d6, 0, 16 + 8, -(0xe85250d6 + 16 + 8)\n"
    ".short 0, 0; .long 8\n"
    ".globl _start\n"
    "_start: cli\n"
    "mov $stack + 8192, %esp\n"
    "push %ebx\n"
    "push %eax\n"
    "call start\n"
    "hang: hlt; jmp hang\n"
    ".globl enter\n"
    "enter: mov 4(%esp), %ecx\n"
    "mov 8(%esp), %esi\n"
    "lgdt table\n"
    "mov $0x18, %eax\n"
    "mov %eax, %ds; mov %eax, %es; mov %eax, %ss; mov %eax, %fs; mov %eax, %gs\n"
    "ljmp $0x10, $1f\n"
    "1: xor %ebx, %ebx; xor %edi, %edi; xor %ebp, %ebp\n"
    "jmp *%ecx\n"
    ".align 8\n"
    "segments: .quad 0, 0, 0x00cf9a000000ffff, 0x00cf92000000ffff\n"
    "table: .short 31; .long segments\n"
    ".text\n");

void enter(u32 code, u32 parameters) __attribute__((noreturn));

struct tag {
    u32 type, size;
};

struct module {
    u32 type, size, start, end;
    char text[];
};

struct map {
    u32 type, size, entry_size, version;
    u8 entries[];
};

u8 stack[8192];
/* Below 1 MiB, which Linux leaves alone. */
static u8 parameters[4096], root_pointer[64];
static char command_line[2048];

static void print(const char *text)
{
    for (; *text; text++) {
        u8 state;
        do
            __asm__ volatile("inb %w1, %0" : "=a"(state) : "Nd"(0x3fd));
        while (!(state & 0x20));
        __asm__ volatile("outb %0, %w1" : : "a"(*text), "Nd"(0x3f8));
    }
}

static void fail(const char *why)
{
    print("\r\nACRN stand-in: ");
    print(why);
    print("\r\n");
    for (;;)
        __asm__ volatile("hlt");
}

static void copy(u32 to, u32 from, u32 size)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

/* What follows `word` and blanks in `text`; 0 if it begins with another word. */
static const char *after(const char *text, const char *word)
{
    while (*word)
        if (*text++ != *word++)
            return 0;
    if (*text && *text != ' ')
        return 0;
    while (*text == ' ')
        text++;
    return text;
}

static u32 *at(u32 offset)
{
    return (u32 *)(parameters + offset);
}

static int meet(u32 start, u32 end, u32 other, u32 other_end)
{
    return start < other_end && other < end;
}

void start(u32 magic, u32 info)
{
    const struct module *kernel = 0, *initrd = 0;
    const struct map *map = 0;
    const struct tag *tag;
    const char *arguments = 0;

    if (magic != 0x36d76289)
        fail("not started by multiboot2");
    for (tag = (void *)(info + 8); tag->type; tag = (void *)(((u32)tag + tag->size + 7) & ~7u)) {
        if (tag->type == 1) {
            print("\r\nACRN stand-in: arguments:");
            print(" ");
            print((const char *)(tag + 1));
        } else if (tag->type == 3) {
            const struct module *module = (const void *)tag;
            const char *rest;
            if ((rest = after(module->text, "Linux_bzImage"))) {
                kernel = module;
                arguments = rest;
            } else if (after(module->text, "Linux_initrd"))
                initrd = module;
        } else if (tag->type == 6)
            map = (const void *)tag;
        else if (tag->type == 14 || tag->type == 15) {
            copy((u32)root_pointer, (u32)(tag + 1), tag->size - 8 < sizeof root_pointer ? tag->size - 8 : sizeof root_pointer);
            *at(0x70) = (u32)root_pointer;
        }
    }
    if (!kernel || !initrd || !map || !*at(0x70))
        fail("a module, the memory map or ACPI is missing");

    /* The setup header, and what the protocol asks of a loader: Documentation/arch/x86/boot.rst. */
    u32 setup = kernel->start + 0x1f1, sectors = *(u8 *)setup ? *(u8 *)setup : 4;
    copy((u32)parameters + 0x1f1, setup, 0x11 + *(u8 *)(kernel->start + 0x201));
    if (*at(0x202) != 0x53726448)
        fail("the kernel has no setup header");
    parameters[0x210] = 0xff;
    *at(0x218) = initrd->start;
    *at(0x21c) = initrd->end - initrd->start;
    *at(0x228) = (u32)command_line;
    u32 length = 0;
    while (arguments[length] && length < sizeof command_line - 1) {
        command_line[length] = arguments[length];
        length++;
    }
    const u8 *entry = map->entries;
    for (; entry < (const u8 *)map + map->size && parameters[0x1e8] < 128; entry += map->entry_size)
        copy((u32)parameters + 0x2d0 + 20 * parameters[0x1e8]++, (u32)entry, 20);

    /* A place for the kernel, with room to unpack itself, where no module lies. */
    u32 room = *at(0x260), align = *at(0x230), to = 0x1000000;
    while (meet(to, to + room, kernel->start, kernel->end) || meet(to, to + room, initrd->start, initrd->end) ||
           meet(to, to + room, info, info + *(u32 *)info))
        to += align;
    copy(to, kernel->start + (sectors + 1) * 512, kernel->end - kernel->start - (sectors + 1) * 512);
    *at(0x214) = to;
    print("\r\nACRN stand-in: starts Linux with: ");
    print(command_line);
    print("\r\n");
    enter(to, (u32)parameters);
}
