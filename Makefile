# A thin front to CMake: every target installs what it misses, configures and builds by itself.
#
#   DRAY_TEST_DATA=<folder>   model files for the tests that read some
#   JOBS=<n>                  how many things to do at once
#   PREFIX=<folder> DESTDIR=  for `make install`

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 20
DEMO_MB ?= 1024
MODEL ?=
export DRAY_TEST_DATA

# What `make deps` installs (Debian and Ubuntu names). This is the only list.
PACKAGES := build-essential cmake ninja-build pkg-config python3 \
    libxxhash-dev liburing-dev libzstd-dev liblz4-dev zlib1g-dev libnuma-dev libssl-dev \
    libcmocka-dev scdoc gnuplot-nox zstd lz4 gzip ocl-icd-libopencl1 pocl-opencl-icd libucx-dev
# What only `make lint` and `make check-all` need on top.
LINT_PACKAGES := clang clang-format clang-tidy cppcheck libclang-rt-14-dev

# $(call install,<packages>): installs those that are missing. Where that cannot work (no apt, no root,
# no network) it says what is needed and goes on: the packages may be there under other names.
define install
	@if ! command -v dpkg-query >/dev/null; then \
	    echo "This is no Debian-like system. Needed, under the names they have here: $(1)"; \
	    exit 0; \
	fi; \
	missing=(); \
	for package in $(1); do \
	    [[ $$(dpkg-query -W -f='$${db:Status-Status}' "$$package" 2>/dev/null) == installed ]] || \
	        missing+=("$$package"); \
	done; \
	if (( $${#missing[@]} )); then \
	    as_root=; (( EUID == 0 )) || as_root=sudo; \
	    echo "Installing $${missing[*]}"; \
	    $$as_root apt-get update -qq && \
	    $$as_root env DEBIAN_FRONTEND=noninteractive \
	        apt-get install -y -qq --no-install-recommends "$${missing[@]}" || \
	        echo "These packages could not be installed, and are needed: $${missing[*]}"; \
	fi
endef

# $(call test,<preset>[,<more for cmake>]): configures, builds and tests.
define test
	cmake --preset $(1) $(2)
	cmake --build --preset $(1) -j $(JOBS)
	ctest --preset $(1) -j $(JOBS)
endef

SOURCES = $(shell git ls-files '*.c' '*.h' '*.cc')

.PHONY: help
help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: deps
deps: ## install the packages that dray is built with, if any is missing
	$(call install,$(PACKAGES))

.PHONY: lint-deps
lint-deps: deps
	$(call install,$(LINT_PACKAGES))

.PHONY: build
build: deps ## build the release into build/release
	cmake --preset release
	cmake --build --preset release -j $(JOBS)

.PHONY: test
test: deps ## build and test: once plainly, once under the address and undefined sanitizers
	$(call test,dev)
	$(call test,asan)

.PHONY: check-all
check-all: lint-deps test ## everything `test` does, and: release, clang, minimal, tsan, fuzzing, lint
	$(call test,release,-DDRAY_WERROR=ON)
	$(call test,minimal)
	$(call test,tsan)
	$(call test,clang)
	$(MAKE) fuzz lint

.PHONY: fuzz
fuzz: lint-deps ## fuzz every target for FUZZ_SECONDS (20), starting from its corpus
	$(call test,fuzz)
	tests/fuzz/fuzz_all.sh build/fuzz/tests $(FUZZ_SECONDS)

.PHONY: bench
bench: build ## measure: dray beside its baselines
	bench/run.sh build/release/dray build/release/examples/make_model '$(MODEL)'

.PHONY: demo
demo: build ## a first look; DEMO_MB=<size of the made-up model>, MODEL=<your own file>
	DEMO_MB='$(DEMO_MB)' MODEL='$(MODEL)' examples/demo.sh

.PHONY: lint
lint: lint-deps ## clang-format, cppcheck, clang-tidy, and our own checks
	clang-format --dry-run -Werror $(SOURCES)
	cmake --preset clang
	cmake --build --preset clang -j $(JOBS)
	ctest --preset clang -L lint
	cppcheck -q -j $(JOBS) --std=c11 --error-exitcode=1 --inline-suppr \
	    --enable=warning,performance,portability --suppressions-list=tests/lint/cppcheck.txt \
	    --project=build/clang/compile_commands.json
	run-clang-tidy -quiet -j $(JOBS) -p build/clang '$(CURDIR)/src/base/error.c'
	run-clang-tidy -quiet -j $(JOBS) -p build/clang -extra-arg=-I$(CURDIR)/include \
	    -extra-arg=-include -extra-arg=$(CURDIR)/tests/lint/analyzer.h \
	    '$(CURDIR)/(src/(?!base/error)|cli/|bench/|examples/|tests/)'

.PHONY: format
format: ## let clang-format have its way
	clang-format -i $(SOURCES)

.PHONY: install
install: build ## install the release below PREFIX (/usr/local)
	DESTDIR='$(DESTDIR)' cmake --install build/release --prefix '$(PREFIX)'

.PHONY: clean
clean: ## remove build/
	rm -rf build
