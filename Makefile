# Habits over CMake: `make help` lists them. Everything here can be done with cmake, ninja and ctest alone (CONTRIBUTING.md).
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
CMAKE_FLAGS ?=
ARGS ?=
FUZZ_SECONDS ?= 60
CTEST_JOBS ?= 2

export CTEST_OUTPUT_ON_FAILURE = 1
cmake = cmake -S . -G Ninja $(CMAKE_FLAGS)
test_env = EMBELLAMA_TEST_MODEL="$$(scripts/get-model)" && \
	EMBELLAMA_TEST_PYTHON="$$(scripts/python-venv test tests/api/requirements.txt)" && \
	EMBELLAMA_TEST_NODE="$$(scripts/node-modules test tests/api/node)" && \
	export EMBELLAMA_TEST_MODEL EMBELLAMA_TEST_PYTHON EMBELLAMA_TEST_NODE

.PHONY: build serve model test test-clients test-arm bench bench-peers bench-serving profile format check asan tsan fuzz install uninstall deps clean help

build: ## Build the library and the command (the default)
	@scripts/install-deps build
	@[ -f $(BUILD)/build.ninja ] || $(cmake) -B $(BUILD) -DEMBELLAMA_TESTS=OFF
	@cmake --build $(BUILD)

serve: build model ## Build, fetch the default model once, and serve it; ARGS="--port 9000 ..." are passed on
	@exec $(BUILD)/embellama serve $(ARGS)

model: ## Fetch the default model into the user's cache folder, once
	@scripts/get-model >/dev/null

test: ## Build and run all tests
	@scripts/install-deps test
	@grep -qs '^EMBELLAMA_TESTS:BOOL=ON' $(BUILD)/CMakeCache.txt && [ -f $(BUILD)/build.ninja ] || \
		$(cmake) -B $(BUILD) -DEMBELLAMA_TESTS=ON
	@cmake --build $(BUILD)
	@$(test_env) && ctest --test-dir $(BUILD) -j $(CTEST_JOBS)

test-clients: build model ## Run real clients (Python, JS, Go, Rust, Java, curl) against the server; ARGS="--only python/,go --write"
	@scripts/install-deps clients
	@scripts/test-clients $(BUILD) $(ARGS)
	@python3 -B tests/clients/h2spec.py $(BUILD)

test-arm: ## Cross-build for 64-bit ARM and run the kernels' tests under qemu, for CPUs with and without each tier
	@scripts/install-deps arm
	@scripts/test-arm $(BUILD)-arm

bench: build model ## Measure bulk speed beside ONNX Runtime in one run, and the kernels
	@scripts/bench $(BUILD) $(ARGS)

bench-peers: build model ## Measure beside all peers in one run (docs/performance.md): bench/results; ARGS="--shapes bge-base ..."
	@scripts/bench-peers $(BUILD) $(ARGS)

bench-serving: build model ## Measure what the server holds under load, beside other servers: bench/results; ARGS="--quick --shows 1,3 ..."
	@scripts/bench-serving $(BUILD) $(ARGS)

profile: model ## Flame graphs, heap profile and scheduling of the bulk and the single-text job: bench/results
	@scripts/profile $(BUILD)-profile $(ARGS)

format: ## Format all C and C++ files in place
	@scripts/install-deps check
	@git ls-files '*.c' '*.h' '*.cpp' | xargs clang-format-14 -i

check: ## Static checks: format, layers, banned functions, warnings as errors with gcc and clang, cppcheck, clang-tidy
	@scripts/install-deps check
	@scripts/check

asan: ## Build with AddressSanitizer and UBSan and run the tests
	@scripts/install-deps test
	@$(cmake) -B $(BUILD)-asan -DEMBELLAMA_SANITIZE=address,undefined
	@cmake --build $(BUILD)-asan
	@$(test_env) && ctest --test-dir $(BUILD)-asan -j $(CTEST_JOBS)

tsan: ## Build with ThreadSanitizer and run the tests
	@scripts/install-deps test
	@$(cmake) -B $(BUILD)-tsan -DEMBELLAMA_SANITIZE=thread
	@cmake --build $(BUILD)-tsan
	@$(test_env) && ctest --test-dir $(BUILD)-tsan -j $(CTEST_JOBS)

fuzz: ## Run each fuzz target for FUZZ_SECONDS (60)
	@scripts/install-deps check
	@CC=clang-14 CXX=clang++-14 $(cmake) -B $(BUILD)-fuzz -DEMBELLAMA_FUZZ=ON -DEMBELLAMA_TESTS=OFF
	@cmake --build $(BUILD)-fuzz
	@scripts/fuzz $(BUILD)-fuzz $(FUZZ_SECONDS)

install: build ## Install under PREFIX (/usr/local); DESTDIR is put in front
	@DESTDIR="$(DESTDIR)" cmake --install $(BUILD) --prefix "$(PREFIX)"

uninstall: ## Remove what the last install from this tree put there
	@scripts/uninstall $(BUILD)

deps: ## Install all system packages that building, testing and checking need
	@scripts/install-deps all

clean: ## Remove the build folders
	@rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-fuzz $(BUILD)-arm build-check-gcc build-check-clang-14 $(BUILD)-profile

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
