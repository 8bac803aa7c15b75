#include <stdio.h>

int main(void)
{
    puts("@name@ runs");
    return 0;
}
