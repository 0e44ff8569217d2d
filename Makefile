# SPDX-License-Identifier: GPL-2.0

# `make help` says what there is. The module itself is built by Kbuild, from the file Kbuild.

.DEFAULT_GOAL := $(if $(KDIR),module,help)
SHELL := /bin/bash

cache := $(or $(PORTCULLIS_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/portcullis)

##@ The two commands to start with

.PHONY: demo
demo: ## Show the main job on Debian's stock kernel: a VM runs, a forbidden ioctl is refused
	@scripts/demo

.PHONY: test
test: ## Run every test; T=name runs one, T=list names them
	@tests/run $(T)

##@ Building

.PHONY: module
module: ## Build build/portcullis.ko for KDIR=folder; without KDIR, for Debian's stock kernel
ifdef KDIR
	@mkdir -p build
	+$(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(CURDIR)/build modules
else
	@scripts/build module stock
endif

.PHONY: tools
tools: ## Build the portcullis command, its man pages and completions; print where it is
	@scripts/build tools

.PHONY: docs
docs: ## Render Documentation/ and a table of every command as HTML; print the folder
	@scripts/docs

.PHONY: schema
schema: ## Write the tables of ioctls again, from KDIR=folder (KSRC=its source) or the stock kernel
	@scripts/schema-of $(or $(KDIR),stock) $(KSRC)

.PHONY: doors
doors: ## List every ioctl handler in the source of a kernel (KSRC=folder) and whether it is guarded
	@PORTCULLIS_FOLDERS="$(KSRC)" scripts/enter scripts/doors $(or $(KSRC),$$(scripts/kernel source))

##@ Habits

.PHONY: bench
bench: ## Count the instructions of an ioctl with and without Portcullis; BENCH_JSON=file keeps them
	@scripts/bench

.PHONY: bench-host
bench-host: ## Measure nanoseconds per verdict of the engine on this machine; BENCH_JSON=file keeps them
	@scripts/bench-host

.PHONY: fuzz
fuzz: ## Fuzz the policy engine for a minute each; T=name for one target, S=seconds
	@scripts/fuzz $(or $(T),all) $(S)

.PHONY: lint
lint: ## Clippy for the module and the host code, shellcheck, formatting, documents
	@scripts/lint

.PHONY: format
format: ## Format all Rust code
	@scripts/lint --format

.PHONY: shell
shell: ## Open a shell in a guest with the stock kernel, the module and the test client
	@scripts/run-vm --shell

.PHONY: clean
clean: ## Remove build/ and target/; the cache stays
	rm -rf build target

.PHONY: clean-cache
clean-cache: ## Remove the cache: the build root, the kernels, all builds
	@scripts/clean-cache

.PHONY: help
help: ## Show this
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nThe cache: %s (PORTCULLIS_CACHE moves it)\n' '$(cache)'
