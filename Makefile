# Targets for people. What a clone must pass is .ci/run.

FUZZTIME ?= 10s
RUN ?= runs/quickstart

.PHONY: cuda ci test lint race noasm generate ptx assemble barriers bench fuzz kill kill-gpu memory readback parity report

cuda: ## bin/surrogaze with the GPU backend, which starts on machines without one too
	internal/cuda/env go build -tags gpu -o bin/surrogaze ./cmd/surrogaze

ci: ## everything that a clone must pass
	bash .ci/run

test:
	go test ./...

lint:
	bash .ci/run format vet lint

race:
	bash .ci/run race

noasm: ## the Go kernels alone
	bash .ci/run noasm

generate: ## assembly, schema, documentation of the configuration
	go generate ./...

ptx: ## the CUDA kernels (about 60 MB are fetched once)
	internal/cuda/kernels/compile

assemble: ## the CUDA kernels' registers, by NVIDIA's assembler (20 MB are fetched once)
	internal/cuda/kernels/assemble sm_80 sm_90

barriers: ## whether tests notice a barrier less in a CUDA kernel
	internal/cuda/kernels/barriers

bench:
	go test -run '^$$' -bench . ./...

fuzz: ## every fuzz target for FUZZTIME
	@for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

kill: ## a hundred kill -9 at random moments, and the results still equal
	SURROGAZE_KILLS=100 go test -run TestAKilledRun -timeout 2h -v ./cmd/surrogaze

kill-gpu: ## the same on a GPU (SURROGAZE_GPU=1), or on a mock of one
	SURROGAZE_KILLS=100 internal/cuda/env go test -tags gpu -run TestAKilledRunOnAGPU -timeout 2h -v ./cmd/surrogaze

memory: ## a data set four times as large as the memory limit
	SURROGAZE_MEMORY=1 go test -run Memory -timeout 1h -v ./cmd/surrogaze

readback: ## exports read by the libraries that they are for
	bash .ci/run readback

parity: ## everything beside PyTorch, torchvision, timm, Pillow, scikit-learn (PYTHON has them, or several GB are fetched)
	bench/parity/run

report: ## docs/images/report.png, of the run in RUN
	mkdir -p docs/images
	chromium --headless --no-sandbox --hide-scrollbars --window-size=1200,1925 \
		--screenshot=docs/images/report.png "file://$(abspath $(RUN))/report.html"
