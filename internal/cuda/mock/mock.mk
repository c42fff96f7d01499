# See build.

mock := $(dir $(realpath $(lastword $(MAKEFILE_LIST))))
kernels := $(abspath $(mock)../kernels)
vpath %.cc $(mock)
vpath %.cu $(kernels) $(mock)testdata
vpath %.ptx $(kernels) $(mock)testdata

CXX := g++
CXXFLAGS := -std=c++17 -O2 -fPIC -Wall -Wno-unused-function -Wno-unknown-pragmas
CPPFLAGS := $(CGO_CFLAGS) -I$(mock) -I$(kernels)

# Kernels call accesses.cc with all that they read and write, and where an address is not
# aligned or an array too short.
CHECKS := -g -fsanitize=thread,alignment,bounds -fno-sanitize-recover=all --param tsan-instrument-func-entry-exit=0

sources := $(notdir $(wildcard $(kernels)/*.cu $(mock)testdata/*.cu))
objects := device.o accesses.o memory.o stream.o module.o driver.o $(sources:.cu=.cu.o)
headers := $(wildcard $(mock)*.h $(kernels)/*.cuh)

all: libcuda.so.1 libcudnn.so.9

libcuda.so.1: $(objects) $(mock)mock.mk
	$(CXX) -shared -Wl,-soname,$@ -o $@ $(objects)

libcudnn.so.9: cudnn.o libcuda.so.1 $(mock)mock.mk
	$(CXX) -shared -Wl,-soname,$@ -Wl,-rpath,'$$ORIGIN' -o $@ $< -L. -l:libcuda.so.1

%.o: %.cc $(headers)
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<

%.cu.o: %.cu.cc $(headers) $(mock)mock.mk
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) $(CHECKS) -c -o $@ $<

# The PTX beside a source names the kernels in it. They stand in a namespace of their
# own, so that other files may use the same names.
%.cu.cc: %.cu %.ptx
	( echo '#include "device.h"'; echo '#include "entry.h"'; \
	  echo 'namespace {'; echo '#include "$(realpath $<)"'; \
	  sed -nE 's/.*\.entry ([A-Za-z0-9_]+)\(.*/ENTRY(\1)/p' $(word 2,$^); \
	  echo '}' ) > $@
