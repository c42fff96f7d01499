//go:build gpu

// A stand-in for libcuda: the program links with it and so starts where there is no
// driver. Its functions jump to those of the driver's own library once that is loaded;
// before, they return CUDA_ERROR_NOT_INITIALIZED.

#include "library.h"

#include <dlfcn.h>
#include <stddef.h>

static const char *const names[] = {
#define SYMBOL(name) #name,
#include "symbols.h"
#undef SYMBOL
};

enum { count = sizeof names / sizeof names[0] };

static CUresult not_loaded(void) { return CUDA_ERROR_NOT_INITIALIZED; }

__attribute__((visibility("hidden"))) void *surrogaze_driver_table[count] = {
    [0 ... count - 1] = (void *)not_loaded};

// gorgonia.org/cu calls cuInit as the program starts, and would end it on an error.
CUresult cuInit(unsigned flags) {
  (void)flags;
  return CUDA_SUCCESS;
}

const char *surrogaze_load_driver(const char *path, surrogaze_init *init) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return dlerror();
  *init = (surrogaze_init)dlsym(library, "cuInit");
  if (*init == NULL) return dlerror();
  for (int i = 0; i < count; i++) {
    void *function = dlsym(library, names[i]);
    if (function != NULL) surrogaze_driver_table[i] = function;
  }
  return NULL;
}

CUresult surrogaze_call_init(surrogaze_init init) { return init(0); }
