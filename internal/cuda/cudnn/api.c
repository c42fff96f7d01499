//go:build gpu

#define _GNU_SOURCE
#include "api.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

static char *find(void *file, const char *name, void *function) {
	void *symbol = dlsym(file, name);
	if (symbol == NULL)
		return strdup(dlerror());
	memcpy(function, &symbol, sizeof symbol);
	return NULL;
}

typedef struct {
	const char *name;
	void *function; // address of the pointer to it
} entry;

static char *find_all(void *file, const entry *entries, size_t count) {
	for (size_t i = 0; i < count; i++) {
		char *error = find(file, entries[i].name, entries[i].function);
		if (error != NULL)
			return error;
	}
	return NULL;
}

char *locate(const char *name, char **path) {
	void *file = dlopen(name, RTLD_LAZY);
	struct link_map *map;
	if (file == NULL || dlinfo(file, RTLD_DI_LINKMAP, &map) != 0)
		return strdup(dlerror());
	*path = strdup(map->l_name);
	dlclose(file);
	return NULL;
}

char *ask_runtime(const char *path, size_t *version) {
	void *file = dlmopen(LM_ID_NEWLM, path, RTLD_LAZY);
	if (file == NULL)
		return strdup(dlerror());
	size_t (*runtime)(void);
	char *error = find(file, "cudnnGetCudartVersion", &runtime);
	if (error == NULL)
		*version = runtime();
	dlclose(file);
	return error;
}

char *load_api(api *a, const char *path) {
	void *file = dlopen(path, RTLD_NOW);
	if (file == NULL)
		return strdup(dlerror());
	const entry entries[] = {
		{"cudnnGetVersion", &a->version},
		{"cudnnGetCudartVersion", &a->runtime},
		{"cudnnGetErrorString", &a->status_text},
		{"cudnnCreate", &a->create},
		{"cudnnDestroy", &a->destroy},
		{"cudnnSetStream", &a->set_stream},
		{"cudnnBackendCreateDescriptor", &a->make},
		{"cudnnBackendDestroyDescriptor", &a->drop},
		{"cudnnBackendSetAttribute", &a->set},
		{"cudnnBackendGetAttribute", &a->get},
		{"cudnnBackendFinalize", &a->finalize},
		{"cudnnBackendExecute", &a->execute},
	};
	char *error = find_all(file, entries, sizeof entries / sizeof *entries);
	if (error != NULL) {
		dlclose(file);
		return error;
	}
	void *last = dlsym(file, "cudnnGetLastErrorString");
	memcpy(&a->last_error, &last, sizeof last);
	return NULL;
}

char *load_driver(api *a) {
	void *file = dlopen("libcuda.so.1", RTLD_NOW);
	if (file == NULL)
		return strdup(dlerror());
	const entry entries[] = {
		{"cuStreamGetCtx", &a->stream_context},
		{"cuCtxSetCurrent", &a->use_context},
	};
	return find_all(file, entries, sizeof entries / sizeof *entries);
}

char *preload(const char *path) {
	return dlopen(path, RTLD_NOW) == NULL ? strdup(dlerror()) : NULL;
}

size_t api_version(api *a) { return a->version(); }
size_t api_runtime(api *a) { return a->runtime(); }
const char *api_status_text(api *a, int status) { return a->status_text(status); }

void api_last_error(api *a, char *text, size_t size) {
	text[0] = 0;
	if (a->last_error != NULL)
		a->last_error(text, size);
}

int api_create(api *a, void **handle) { return a->create(handle); }
int api_destroy(api *a, void *handle) { return a->destroy(handle); }
int api_set_stream(api *a, void *handle, uintptr_t stream) { return a->set_stream(handle, (void *)stream); }
int api_make(api *a, int kind, void **descriptor) { return a->make(kind, descriptor); }
int api_drop(api *a, void *descriptor) { return a->drop(descriptor); }

int api_set(api *a, void *descriptor, int attribute, int type, int64_t count, const void *elements) {
	return a->set(descriptor, attribute, type, count, elements);
}

int api_get(api *a, void *descriptor, int attribute, int type, int64_t room, int64_t *count, void *elements) {
	return a->get(descriptor, attribute, type, room, count, elements);
}

int api_finalize(api *a, void *descriptor) { return a->finalize(descriptor); }
int api_execute(api *a, void *handle, void *plan, void *pack) { return a->execute(handle, plan, pack); }

int api_stream_context(api *a, uintptr_t stream, void **context) {
	return a->stream_context((void *)stream, context);
}

int api_use_context(api *a, void *context) { return a->use_context(context); }
