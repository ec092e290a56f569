// A program of a user of dray, in C. It is built by run.sh.
#include <dray/dray.h>

#include <stdio.h>

int main(void)
{
    printf("C: dray %s, %s\n", dray_version(), dray_status_name(DRAY_OK));
    return DRAY_VERSION_MAJOR != 0;
}
