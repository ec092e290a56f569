/// See one_name.c.
#include "one_name.c"
