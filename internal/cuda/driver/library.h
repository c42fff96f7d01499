#ifndef SURROGAZE_LIBRARY_H
#define SURROGAZE_LIBRARY_H

#include <cuda.h>

typedef CUresult (*surrogaze_init)(unsigned flags);

// surrogaze_load_driver loads the driver's library and gives its cuInit. It returns
// why it cannot, or null.
const char *surrogaze_load_driver(const char *path, surrogaze_init *init);

CUresult surrogaze_call_init(surrogaze_init init);

#endif
