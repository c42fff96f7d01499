// The functions of cuDNN's graph API that the package calls, found at run time, and
// those of the driver that make a device's context the calling thread's.

#include <stddef.h>
#include <stdint.h>

typedef struct {
	size_t (*version)(void);
	size_t (*runtime)(void); // version of CUDA that the library was built with
	const char *(*status_text)(int status);
	void (*last_error)(char *text, size_t size); // NULL before version 9
	int (*create)(void **handle);
	int (*destroy)(void *handle);
	int (*set_stream)(void *handle, void *stream);
	int (*make)(int kind, void **descriptor);
	int (*drop)(void *descriptor);
	int (*set)(void *descriptor, int attribute, int type, int64_t count, const void *elements);
	int (*get)(void *descriptor, int attribute, int type, int64_t room, int64_t *count, void *elements);
	int (*finalize)(void *descriptor);
	int (*execute)(void *handle, void *plan, void *pack);

	int (*stream_context)(void *stream, void **context);
	int (*use_context)(void *context);
} api;

// locate finds the file that the loader opens by a name; the path is to be freed. It
// returns NULL, or what is wrong: a string to be freed.
char *locate(const char *name, char **path);

// ask_runtime asks a library for the version of CUDA that it was built with, likewise, and
// leaves no trace of it where other libraries look for theirs.
char *ask_runtime(const char *path, size_t *version);

// load_api opens a library, likewise.
char *load_api(api *a, const char *path);

// load_driver finds the driver's functions, likewise.
char *load_driver(api *a);

// preload opens a library that others will ask for by its name, likewise.
char *preload(const char *path);

size_t api_version(api *a);
size_t api_runtime(api *a);
const char *api_status_text(api *a, int status);
void api_last_error(api *a, char *text, size_t size);
int api_create(api *a, void **handle);
int api_destroy(api *a, void *handle);
int api_set_stream(api *a, void *handle, uintptr_t stream);
int api_make(api *a, int kind, void **descriptor);
int api_drop(api *a, void *descriptor);
int api_set(api *a, void *descriptor, int attribute, int type, int64_t count, const void *elements);
int api_get(api *a, void *descriptor, int attribute, int type, int64_t room, int64_t *count, void *elements);
int api_finalize(api *a, void *descriptor);
int api_execute(api *a, void *handle, void *plan, void *pack);

int api_stream_context(api *a, uintptr_t stream, void **context);
int api_use_context(api *a, void *context);
